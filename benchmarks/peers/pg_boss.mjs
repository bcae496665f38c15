// pg-boss: LISTEN/NOTIFY on, burst mode on. A batch, which is one call of the handler, is claimed and completed at once: it
// is as large as the concurrency (batchSize), and two are in flight (localConcurrency 2), so that one is worked on while the
// other is claimed or completed. That was the fastest of what we tried. Finished jobs are kept. Filled by insert(), enqueued
// by send().

import { PgBoss } from "pg-boss";
import { main } from "./program.mjs";

const QUEUE = "noop";
const FILL = 10_000; // jobs a statement

async function started(options) {
  const boss = new PgBoss({ host: process.env.PGHOST, database: process.env.PGDATABASE, ...options });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return boss;
}

main({
  async prepare(jobs) {
    const boss = await started({ supervise: false, schedule: false });
    await boss.createQueue(QUEUE, { notify: true });
    for (let first = 1; first <= jobs; first += FILL) {
      const count = Math.min(FILL, jobs - first + 1);
      await boss.insert(
        QUEUE,
        Array.from({ length: count }, (_, i) => ({ data: { number: first + i } })),
      );
    }
    await boss.stop();
  },

  async work(concurrency, handle) {
    const boss = await started({ useListenNotify: true });
    const options = {
      localConcurrency: 2,
      batchSize: concurrency,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
    };
    await boss.work(QUEUE, options, async (jobs) => {
      for (const { data } of jobs) handle(data.number);
    });
  },

  async producing() {
    const boss = await started({ supervise: false, schedule: false });
    return {
      enqueue: (number) => boss.send(QUEUE, { number }),
      close: () => boss.stop(),
    };
  },
});
