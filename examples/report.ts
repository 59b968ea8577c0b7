// A report that a schedule writes. GET counts a visit and lists the reports; every
// night, or whenever the trigger says, the next report is written.
//
//   pic deploy examples/report.ts
//   pic triggers add --script report --kind cron --schedule '0 3 * * *' --tz Europe/Berlin
//   curl http://localhost:8080/report
//
// To see one at once: pic triggers fire ID --wait, with the id from pic triggers ls.

import { kv, type Context, type Env, type ScheduledEvent } from "picloud";

const counters = kv.collection<number>("report-counters");
const reports = kv.collection<{ at: string; visits: number }>("reports");

export default {
  async fetch(_request: Request, _env: Env, _ctx: Context) {
    const visits = await counters.increment("visits");
    return { visits, reports: (await reports.list({ limit: 1000, values: true })).values };
  },

  // A run that comes twice, as any event may, writes the same report twice: its key
  // is the moment that it is for, not the one at which it was written.
  async scheduled(event: ScheduledEvent, _env: Env, _ctx: Context) {
    const at = new Date(event.scheduledTime).toISOString();
    await reports.set(at, { at, visits: (await counters.get("visits")) ?? 0 });
  },
};
