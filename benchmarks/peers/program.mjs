// What every system's program in JavaScript does: program.py, which see, in another language.

import { setTimeout as sleep } from "node:timers/promises";

const now = () => Number(process.hrtime.bigint()) / 1e9;

// The handler's calls, kept until stdin ends.
function keepCalls(expected) {
  const calls = [];
  process.stdin.on("end", () => {
    process.stdout.write(JSON.stringify(calls) + "\n", () => process.exit(0));
  });
  process.stdin.resume();
  return (number) => {
    calls.push([number, now()]);
    if (calls.length === 1) process.stdout.write("first\n");
    if (calls.length === expected) process.stdout.write("last\n");
  };
}

async function produce({ producing }, first, count, gap) {
  const { enqueue, close } = await producing();
  const committed = [];
  const began = now();
  for (let number = first; number < first + count; number++) {
    await enqueue(number);
    committed.push(now());
    if (gap) await sleep(gap * 1000);
  }
  await close();
  process.stdout.write(JSON.stringify({ began, committed }) + "\n");
}

// The system offers prepare(jobs), work(concurrency, handle), and producing(), which answers with enqueue and close.
export async function main(system) {
  const [command, ...rest] = process.argv.slice(2);
  const numbers = rest.map(Number);
  const does = {
    prepare: ([jobs]) => system.prepare(jobs),
    work: ([concurrency, calls]) => system.work(concurrency, keepCalls(calls)),
    produce: ([first, count, gap]) => produce(system, first, count, gap),
  };
  await does[command](numbers);
}
