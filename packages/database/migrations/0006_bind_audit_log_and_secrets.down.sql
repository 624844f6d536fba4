ALTER TABLE tenants DROP COLUMN plain_secrets;
DROP VIEW own_audit_log;
DROP POLICY of_tenant ON audit_log;
DROP POLICY of_tenant ON signing_secrets;
ALTER TABLE audit_log DISABLE ROW LEVEL SECURITY;
ALTER TABLE signing_secrets DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON audit_log, signing_secrets FROM punctual_tenant;
