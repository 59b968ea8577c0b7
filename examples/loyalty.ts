// Points for orders: a change in kv that causes work of its own. POST stores an
// order and answers at once; a trigger sees the order and gives points for it.
//
//   pic deploy examples/loyalty.ts
//   pic triggers add --script loyalty --kind kv --collection loyalty-orders --op set
//   curl http://localhost:8080/loyalty -d '{"customer": "ada", "total": 25}'
//   curl 'http://localhost:8080/loyalty?customer=ada'
//
// An event can come twice. So no number is counted up: each event leaves one entry,
// under its own id, and an entry that is written again is still one entry.

import { kv, type Context, type Env, type KVEvent, type TriggerEvent } from "picloud";

interface Order {
  customer: string;
  total: number;
}

const orders = kv.collection<Order>("loyalty-orders");
const points = kv.collection<number>("loyalty-points");

export default {
  async fetch(request: Request, _env: Env, _ctx: Context) {
    switch (request.method) {
      case "GET":
        return balance(new URL(request.url).searchParams.get("customer") ?? "");
      case "POST":
        return order(request);
      default:
        return problem(405, "use GET or POST", { allow: "GET, POST" });
    }
  },

  async trigger(event: TriggerEvent, _env: Env, _ctx: Context) {
    const { customer, total } = (event as KVEvent<Order>).value!;
    await points.set(`${customer}/${event.id}`, Math.floor(total));
  },
};

async function order(request: Request) {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    return problem(400, "the body is not JSON");
  }
  const { customer, total } = (body ?? {}) as Partial<Order>;
  if (typeof customer !== "string" || !/^[\w-]{1,50}$/.test(customer)) {
    return problem(422, "customer must be 1 to 50 letters, digits, - and _");
  }
  if (typeof total !== "number" || !(total > 0)) {
    return problem(422, "total must be a positive number");
  }
  const id = crypto.randomUUID();
  await orders.set(id, { customer, total });
  return Response.json({ id }, { status: 201 });
}

async function balance(customer: string) {
  let sum = 0;
  let cursor: string | undefined;
  do {
    const page = await points.list({ prefix: `${customer}/`, limit: 1000, values: true, cursor });
    for (const n of page.values) sum += n;
    cursor = page.cursor;
  } while (cursor);
  return { customer, points: sum };
}

function problem(status: number, error: string, headers?: Record<string, string>) {
  return Response.json({ error }, { status, headers });
}
