SELECT i::BIGINT AS id,
       'customer ' || chr((64 + i)::INTEGER) AS customer,
       (i * 10.25)::DECIMAL(12,2) AS amount,
       'open' AS status,
       TIMESTAMP '2026-01-01 00:00:00' + to_minutes(i) AS updated_at
  FROM range(1, 6) AS r(i)
