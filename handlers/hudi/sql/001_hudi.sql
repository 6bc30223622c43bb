-- SQL on Hudi: DWS manual, "Synchronizing Hudi Tasks"; spec/hudi.md section 1.
CREATE SCHEMA hudi;
