// graphile-worker: run() in this process, the pool one larger than the concurrency, no line of log per job.
//
// PEER_VARIANT is empty for its defaults, or "batched" for what its own performance page is measured with: localQueue of 500
// and completeJobBatchDelay 0 (https://worker.graphile.org/docs/performance). Done jobs are deleted and leave no history.
// Filled by addJobs() (add_jobs in SQL), enqueued by addJob().

import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { main } from "./program.mjs";

const BATCHED = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const FILL = 10_000; // jobs a statement
const quiet = new Logger(() => () => {}); // stdout is ours

const batched = process.env.PEER_VARIANT === "batched";

main({
  async prepare(jobs) {
    const utils = await makeWorkerUtils({ logger: quiet });
    await utils.migrate();
    for (let first = 1; first <= jobs; first += FILL) {
      const count = Math.min(FILL, jobs - first + 1);
      await utils.addJobs(
        Array.from({ length: count }, (_, i) => ({ identifier: "noop", payload: { number: first + i } })),
      );
    }
    await utils.release();
  },

  async work(concurrency, handle) {
    const batching = batched ? BATCHED : {};
    const runner = await run({
      preset: { worker: { concurrentJobs: concurrency, maxPoolSize: concurrency + 1, logger: quiet, ...batching } },
      noHandleSignals: true,
      taskList: {
        noop: async ({ number }) => handle(number),
      },
    });
    await runner.promise;
  },

  async producing() {
    const utils = await makeWorkerUtils({ logger: quiet });
    return {
      enqueue: (number) => utils.addJob("noop", { number }),
      close: () => utils.release(),
    };
  },
});
