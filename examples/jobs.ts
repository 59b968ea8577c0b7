// Work that nobody waits for. POST is an async route: it is answered with 202 as
// soon as the request is safe on disk, and runs afterwards, again and again if it
// fails. What fails to the end comes back as a dead letter, to the same script.
//
//   pic deploy --mode async --route POST:/jobs examples/jobs.ts
//   pic routes add --script jobs GET:/jobs
//   pic triggers add --script jobs --kind dead_letter
//   curl http://localhost:8080/jobs -d '{"words": "to be or not to be"}'
//   curl http://localhost:8080/jobs
//   pic executions show ID                  (the execution_id of the answer)

import { kv, type Context, type Env, type TriggerEvent } from "picloud";

const done = kv.collection<Record<string, number>>("jobs-done");
const failed = kv.collection<{ why: string; attempts: number }>("jobs-failed");

export default {
  async fetch(request: Request, _env: Env, ctx: Context) {
    if (request.method === "GET") {
      const [a, b] = await Promise.all([done.list({ limit: 1000, values: true }), failed.list({ limit: 1000, values: true })]);
      return { done: byKey(a), failed: byKey(b) };
    }
    const { words } = await request.json(); // what is no JSON throws, and becomes a dead letter
    const counts: Record<string, number> = {};
    for (const word of words.split(/\s+/)) counts[word] = (counts[word] ?? 0) + 1;
    await done.set(ctx.eventId!, counts);
  },

  async trigger(event: TriggerEvent, _env: Env, _ctx: Context) {
    if (event.kind !== "dead_letter") return;
    await failed.set(event.original.id, { why: event.lastError?.message ?? "unknown", attempts: event.attempts });
  },
};

function byKey<V>(page: { keys: string[]; values: V[] }) {
  return Object.fromEntries(page.keys.map((key, i) => [key, page.values[i]]));
}
