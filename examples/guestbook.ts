// A guestbook: data that stays. GET lists the entries, newest first; POST adds one.
//
//   pic deploy examples/guestbook.ts
//   curl http://localhost:8080/guestbook -d '{"name": "Ada", "text": "Nice place!"}'
//   curl http://localhost:8080/guestbook
//
// Each entry has a key of its own, so two guests who write at the same moment
// both stay: nothing is read, changed and written back.

import { kv, type Context, type Env } from "picloud";

interface Entry {
  id: string;
  name: string;
  text: string;
  at: string;
}

const entries = kv.collection<Entry>("guestbook");

export default {
  async fetch(request: Request, _env: Env, _ctx: Context) {
    switch (request.method) {
      case "GET":
        return list(new URL(request.url));
      case "POST":
        return add(request);
      default:
        return problem(405, "use GET or POST", { allow: "GET, POST" });
    }
  },
};

// Keys sort by time backwards, so that the first page is the newest.
const farFuture = 1e14;

async function add(request: Request) {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    return problem(400, "the body is not JSON");
  }
  const { name, text } = (body ?? {}) as Partial<Entry>;
  if (typeof name !== "string" || name.trim() === "" || name.length > 80) {
    return problem(422, "name must be 1 to 80 characters");
  }
  if (typeof text !== "string" || text.trim() === "" || text.length > 2000) {
    return problem(422, "text must be 1 to 2000 characters");
  }
  const now = Date.now();
  const id = `${farFuture - now}-${crypto.randomUUID()}`;
  const entry = { id, name: name.trim(), text: text.trim(), at: new Date(now).toISOString() };
  await entries.set(id, entry);
  return Response.json(entry, { status: 201 });
}

async function list(url: URL) {
  const limit = Number(url.searchParams.get("limit") ?? 50);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    return problem(422, "limit must be 1 to 1000");
  }
  const page = await entries.list({ limit, cursor: url.searchParams.get("cursor") ?? undefined, values: true });
  return { entries: page.values, next: page.cursor };
}

function problem(status: number, error: string, headers?: Record<string, string>) {
  return Response.json({ error }, { status, headers });
}
