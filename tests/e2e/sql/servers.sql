-- CREATE, ALTER and DROP SERVER, grants, user mappings, secrets, USEFT.
\ir common.psql
SET ROLE bob;
SELECT pgveneer.is_hudi_wrapper('dfs_fdw'), pgveneer.is_hudi_wrapper('hdfs_fdw'), pgveneer.is_hudi_wrapper('file_fdw');
SELECT pgveneer.is_hudi_server('lake'), pgveneer.is_hudi_server('other');
CALL pgveneer.create_server('s2', 'dfs_fdw', '{"type": "local"}', false);
SET ROLE app;
CALL pgveneer.create_server('lake', 'dfs_fdw', '{"type": "local"}', false);
CALL pgveneer.create_server('lake', 'dfs_fdw', '{"type": "local"}', true);
CALL pgveneer.create_server('s2', 'dfs_fdw', '{"type": "floppy"}', false);
CALL pgveneer.create_server('s2', 'dfs_fdw', '{"type": "obs", "adress": "x"}', false);
CALL pgveneer.create_server('s2', 'dfs_fdw', '{"type": "obs", "encrypt": "maybe"}', false);
-- secrets come beside the statement
SELECT set_config('pgveneer.secrets', '{"access_key": "AK-1", "secret_access_key": "SK-1"}', false) \g /dev/null
CALL pgveneer.create_server('s2', 'dfs_fdw', '{"type": "OBS", "address": "obs.example.com", "encrypt": "on", "access_key": "********", "secret_access_key": "********"}', false);
SELECT current_setting('pgveneer.secrets');
-- what a failed statement left behind is not the next one's
SELECT set_config('pgveneer.secrets', '{"access_key": "AK-old"}', false) \g /dev/null
CALL pgveneer.create_server('s2', 'dfs_fdw', '{"type": "OBS", "access_key": "********"}', false);
CALL pgveneer.create_server('s5', 'dfs_fdw', '{"type": "OBS"}', false);
SELECT options FROM pgveneer.foreign_server WHERE name = 's5';
SELECT current_setting('pgveneer.secrets');
CALL pgveneer.drop_server('{s5}', false, false);
SELECT name, wrapper, type, options, owner::regrole FROM pgveneer.foreign_server ORDER BY name;
SELECT * FROM pgveneer.secret;
SELECT value FROM pgveneer.secret;
SELECT server, mapping, role, name FROM pgveneer.secret ORDER BY name;
SELECT 1 FROM pgveneer.secret WHERE value LIKE 'S%';
UPDATE pgveneer.secret SET value = value || 'x';
DELETE FROM pgveneer.secret RETURNING value;
RESET ROLE;
SELECT name, value FROM pgveneer.secret ORDER BY name;
SET ROLE app;
-- a mask whose value did not come; a setting that is no JSON
CALL pgveneer.create_server('s3', 'dfs_fdw', '{"type": "obs", "access_key": "********"}', false);
SELECT set_config('pgveneer.secrets', 'SK-broken', false) \g /dev/null
CALL pgveneer.create_server('s3', 'dfs_fdw', '{"type": "obs"}', false);
SELECT set_config('pgveneer.secrets', '', false) \g /dev/null
-- written into the options by hand: taken out all the same
CALL pgveneer.create_server('s3', 'dfs_fdw', '{"type": "obs", "access_key": "AK-3", "security_token": "T-3"}', false);
SELECT options FROM pgveneer.foreign_server WHERE name = 's3';
INSERT INTO pgveneer.foreign_server (name, wrapper, type, options) VALUES ('s4', 'dfs_fdw', 'obs', '{"access_key": "AK-4"}');
-- ALTER SERVER
SELECT set_config('pgveneer.secrets', '{"access_key": "AK-2"}', false) \g /dev/null
CALL pgveneer.alter_server('s2', '{"options": [{"action": "set", "name": "access_key", "value": "********"},
    {"action": "drop", "name": "secret_access_key"}, {"action": "add", "name": "region", "value": "r1"}, {"action": "", "name": "fed", "value": "rbf"}]}');
SELECT options FROM pgveneer.foreign_server WHERE name = 's2';
RESET ROLE;
SELECT name, value FROM pgveneer.secret WHERE server = 's2';
SET ROLE app;
CALL pgveneer.alter_server('s2', '{"options": [{"action": "add", "name": "region", "value": "r1"}]}');
CALL pgveneer.alter_server('s2', '{"options": [{"action": "set", "name": "encrpt", "value": "r1"}]}');
CALL pgveneer.alter_server('s2', '{"options": [{"action": "drop", "name": "nope"}]}');
CALL pgveneer.alter_server('s2', '{"options": [{"action": "add", "name": "nope", "value": "r1"}]}');
CALL pgveneer.alter_server('s2', '{"rename_to": "lake"}');
CALL pgveneer.alter_server('s2', '{"rename_to": "s2b"}');
SELECT DISTINCT server FROM pgveneer.secret ORDER BY 1;
CALL pgveneer.alter_server('nope', '{"rename_to": "x"}');
SET ROLE alice;
CALL pgveneer.alter_server('s2b', '{"rename_to": "x"}');
CALL pgveneer.drop_server('{s2b}', false, false);
SET ROLE app;
CALL pgveneer.alter_server('s2b', '{"owner_to": "alice"}');
SET ROLE alice;
CALL pgveneer.alter_server('s2b', '{"options": [{"action": "set", "name": "region", "value": "r2"}]}');
CALL pgveneer.alter_server('s2b', '{"owner_to": "bob"}');
CALL pgveneer.alter_server('s2b', '{"owner_to": "nobody"}');
-- grants
SET ROLE bob;
CALL pgveneer.grant_server_usage('{s2b}', '{bob}', false);
SET ROLE alice;
CALL pgveneer.grant_server_usage('{s2b}', '{bob}', true);
CALL pgveneer.grant_server_usage('{s2b}', '{bob}', false);
CALL pgveneer.grant_server_usage('{s2b}', '{PUBLIC}', true);
CALL pgveneer.grant_server_usage('{s2b,nope}', '{bob}', false);
CALL pgveneer.grant_server_usage('{s2b}', '{nobody}', false);
SET ROLE bob;
CALL pgveneer.grant_server_usage('{s2b}', '{carol,PUBLIC}', false);
CALL pgveneer.grant_server_usage('{s2b}', '{CURRENT_USER}', false);
SELECT server, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee, grantor::regrole, grantable
  FROM pgveneer.server_grant ORDER BY 1, 2, 3;
SET ROLE dora;
SELECT pgveneer.may_use_server('s2b'), pgveneer.may_use_server('s3'), pgveneer.may_use_server('lake');
SET ROLE alice;
CALL pgveneer.revoke_server_usage('{s2b}', '{bob}', false);
CALL pgveneer.revoke_server_usage('{s2b}', '{bob}', true);
SELECT server, grantee::regrole, grantor::regrole FROM pgveneer.server_grant ORDER BY 1, 2;
SET ROLE dora;
SELECT pgveneer.may_use_server('s2b');
CALL pgveneer.revoke_server_usage('{s2b}', '{bob}', true);
-- user mappings
CALL pgveneer.create_user_mapping('CURRENT_USER', 's2b', '{"access_key": "AK-d"}', false);
SET ROLE alice;
SELECT set_config('pgveneer.secrets', '{"access_key": "AK-d"}', false) \g /dev/null
CALL pgveneer.create_user_mapping('dora', 's2b', '{"access_key": "********"}', false);
CALL pgveneer.create_user_mapping('dora', 's2b', '{}', false);
CALL pgveneer.create_user_mapping('dora', 's2b', '{}', true);
CALL pgveneer.create_user_mapping('PUBLIC', 's2b', '{"colour": "red"}', false);
CALL pgveneer.create_user_mapping('PUBLIC', 's2b', '{"user": "u", "password": "P-1"}', false);
CALL pgveneer.create_user_mapping('dora', 'nope', '{}', false);
SELECT server, role = 0 AS public, options FROM pgveneer.user_mapping ORDER BY 2;
CALL pgveneer.alter_user_mapping('dora', 's2b', '{"options": [{"action": "set", "name": "access_key", "value": "AK-e"}]}');
CALL pgveneer.alter_user_mapping('bob', 's2b', '{"options": []}');
RESET ROLE;
SELECT server, mapping, role = 0 AS public, name, value FROM pgveneer.secret ORDER BY 1, 2, 3, 4;
SET ROLE carol;
SELECT count(*) FROM pgveneer.user_mapping;
SET ROLE alice;
CALL pgveneer.drop_user_mapping('dora', 's2b', false);
CALL pgveneer.drop_user_mapping('dora', 's2b', false);
CALL pgveneer.drop_user_mapping('dora', 's2b', true);
CALL pgveneer.drop_user_mapping('dora', 'nope', true);
-- DROP SERVER
CALL pgveneer.drop_server('{s2b}', false, false);
CALL pgveneer.drop_server('{s2b}', false, true);
CALL pgveneer.drop_server('{s2b}', true, false);
CALL pgveneer.drop_server('{s2b}', false, false);
SET ROLE app;
CALL pgveneer.drop_server('{s3}', false, false);
CALL pgveneer.drop_server('{lake}', false, false);
CALL pgveneer.drop_server('{lake}', false, true);
RESET ROLE;
CALL pgveneer.drop_server('{lake}', false, true);
SELECT count(*) FROM pgveneer.secret;
SELECT to_regclass('hudi_read1');
-- USEFT
SET ROLE bob;
CALL pgveneer.alter_user_useft('bob', true);
SET ROLE app;
CALL pgveneer.alter_user_useft('bob', true);
CALL pgveneer.alter_user_useft('CURRENT_USER', true);
CALL pgveneer.alter_user_useft('bob', false);
CALL pgveneer.alter_user_useft('nobody', false);
SELECT role::regrole, useft FROM pgveneer.user_attribute ORDER BY 1::text;
