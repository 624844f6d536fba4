// Prints what a database's schema is, by its catalog: the text of schema.sql.
//
// usage: node packages/database/describe-schema.ts DATABASE_URL
//
// `npm test -- migrations.int -u` writes schema.sql anew, from a fresh database with all migrations.
import pg from 'pg';

/** What is described of each table; the migrator's own tables and the history's days, which come and go, are left out. */
const TABLES = `
  SELECT c.oid, c.relname AS name, c.relkind = 'p' AS is_partitioned, c.reloptions AS options,
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
    (SELECT format('PARTITION OF %s %s', i.inhparent::regclass, pg_get_expr(c.relpartbound, c.oid)) FROM pg_inherits i WHERE i.inhrelid = c.oid) AS partition_of
  FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND c.relname NOT LIKE 'schema_migrations%' AND c.relname !~ '_[0-9]{8}$'
  ORDER BY c.relname`;
const COLUMNS = `
  SELECT format('%s %s%s%s', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
    CASE a.attgenerated WHEN '' THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
      WHEN 'v' THEN format(' GENERATED ALWAYS AS (%s) VIRTUAL', pg_get_expr(d.adbin, d.adrelid))
      ELSE format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(d.adbin, d.adrelid)) END) AS line
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`;
// Postgres 18 has a constraint for each NOT NULL, which the columns show already.
const CONSTRAINTS = `
  SELECT format('CONSTRAINT %s %s', quote_ident(conname), pg_get_constraintdef(oid)) AS line
  FROM pg_constraint WHERE conrelid = $1 AND contype <> 'n' ORDER BY conname`;
const INDEXES = `
  SELECT pg_get_indexdef(i.indexrelid) AS line FROM pg_index i
  WHERE i.indrelid = $1 AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND conrelid = $1)
  ORDER BY i.indexrelid::regclass::text`;
const POLICIES = `
  SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', oid::regclass) AS line FROM pg_class WHERE oid = $1 AND relrowsecurity
  UNION ALL (SELECT format('CREATE POLICY %I ON %s FOR %s TO %s%s%s;', polname, polrelid::regclass,
      CASE polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END,
      (SELECT string_agg(role::regrole::text, ', ' ORDER BY role) FROM unnest(polroles) AS role),
      E'\\n  USING ' || pg_get_expr(polqual, polrelid), E'\\n  WITH CHECK ' || pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy WHERE polrelid = $1 ORDER BY polname)`;
const GRANTS = `
  SELECT format('GRANT %s ON %s TO %s;', string_agg(privilege, ', ' ORDER BY privilege), relation, grantee) AS line
  FROM (
    SELECT c.oid::regclass::text AS relation, acl.grantee::regrole::text AS grantee, acl.privilege_type AS privilege
    FROM pg_class AS c, aclexplode(c.relacl) AS acl
    WHERE c.relnamespace = 'public'::regnamespace AND acl.grantee <> c.relowner
    UNION ALL
    SELECT c.oid::regclass::text, acl.grantee::regrole::text,
      format('%s (%s)', acl.privilege_type, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum))
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid, aclexplode(a.attacl) AS acl
    WHERE c.relnamespace = 'public'::regnamespace AND acl.grantee <> c.relowner
    GROUP BY c.oid, acl.grantee, acl.privilege_type
  ) AS granted
  GROUP BY relation, grantee ORDER BY relation, grantee`;
const ENUMS = `
  SELECT format('CREATE TYPE %s AS ENUM (%s);', t.typname, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)) AS line
  FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid WHERE t.typnamespace = 'public'::regnamespace GROUP BY t.typname ORDER BY t.typname`;
const OTHERS = `
  SELECT pg_get_functiondef(oid) || ';' AS line FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT pg_get_triggerdef(t.oid) || ';' FROM pg_trigger t WHERE NOT t.tgisinternal
  UNION ALL SELECT format('CREATE VIEW %s AS %s', c.relname, pg_get_viewdef(c.oid)) FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'm')
  UNION ALL SELECT format('CREATE SEQUENCE %s;', c.relname) FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S'
  ORDER BY line`;

interface TableRow {
  oid: number;
  name: string;
  options: string[] | null;
  partition_key: string | null;
  partition_of: string | null;
}

/** The schema as text that reads like SQL: types, tables with their constraints, indexes and policies, whatever else there is, and who may use it. */
export async function describeSchema(client: pg.ClientBase): Promise<string> {
  const readLines = async (text: string, values: unknown[] = []) =>
    (await client.query<{ line: string }>(text, values)).rows.map((row) => row.line);
  const parts = ['-- Made by describe-schema.ts from the catalog after all migrations; not to be edited.'];
  parts.push((await readLines(ENUMS)).join('\n'));
  const { rows: tables } = await client.query<TableRow>(TABLES);
  for (const table of tables) {
    const indexes = (await readLines(INDEXES, [table.oid])).map((line) => `${line};`);
    const policies = await readLines(POLICIES, [table.oid]);
    if (table.partition_of) {
      parts.push([`CREATE TABLE ${table.name} ${table.partition_of};`].join('\n'));
      continue;
    }
    const body = [...(await readLines(COLUMNS, [table.oid])), ...(await readLines(CONSTRAINTS, [table.oid]))];
    const partitioning = table.partition_key ? ` PARTITION BY ${table.partition_key}` : '';
    const options = table.options ? ` WITH (${table.options.join(', ')})` : '';
    parts.push(
      [
        `CREATE TABLE ${table.name} (\n  ${body.join(',\n  ')}\n)${partitioning}${options};`,
        ...indexes,
        ...policies,
      ].join('\n'),
    );
  }
  parts.push(...(await readLines(OTHERS)), (await readLines(GRANTS)).join('\n'));
  return `${parts.join('\n\n')}\n`;
}

if (import.meta.main) {
  const [url] = process.argv.slice(2);
  if (!url) {
    console.error('usage: node packages/database/describe-schema.ts DATABASE_URL');
    process.exit(2);
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  process.stdout.write(await describeSchema(client));
  await client.end();
}
