// Enqueues from Node, in the transaction that inserts the order: both happen, or neither.
//
//   npm ci && DATABASE_URL=postgresql://... node enqueue.mjs

import pg from "pg";

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
try {
  await client.query("begin");
  await client.query("create table if not exists orders (id bigint primary key)");
  await client.query("insert into orders values ($1)", [7]);
  const { rows } = await client.query("select soniq.enqueue('send_welcome', $1, queue => 'mail') as id", [
    { to: "ada@example.org" },
  ]);
  await client.query("commit");
  console.log(`job ${rows[0].id}`); // a bigint, which pg answers as text
} finally {
  await client.end();
}
