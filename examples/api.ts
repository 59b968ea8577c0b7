// A JSON API on two routes: the collection and, with a parameter, one item.
//
//   pic deploy --route ANY:/items --route ANY:/items/:id examples/api.ts
//   curl http://localhost:8080/items -d '{"title": "Milk"}'
//   curl http://localhost:8080/items
//   curl -X PATCH http://localhost:8080/items/ID -d '{"done": true}'
//   curl -X DELETE http://localhost:8080/items/ID
//
// A change made by somebody else in between is noticed, not overwritten: items
// are stored with the version that was read.

import { kv, type Context, type Env } from "picloud";

interface Item {
  title: string;
  done: boolean;
}

const items = kv.collection<Item>("items");

class Problem extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export default {
  async fetch(request: Request, _env: Env, ctx: Context) {
    try {
      const id = ctx.params.id;
      return id === undefined ? await collection(request) : await item(request, id);
    } catch (e) {
      if (e instanceof Problem) return Response.json({ error: e.message }, { status: e.status });
      throw e;
    }
  },
};

async function collection(request: Request) {
  switch (request.method) {
    case "GET": {
      const all: (Item & { id: string })[] = [];
      let cursor: string | undefined;
      do {
        const page = await items.list({ limit: 1000, cursor, values: true });
        page.keys.forEach((id, i) => all.push({ id, ...page.values[i] }));
        cursor = page.cursor;
      } while (cursor);
      return { items: all };
    }
    case "POST": {
      const input = await body(request);
      if (input.title === undefined) throw new Problem(422, "title is missing");
      const id = crypto.randomUUID();
      const made: Item = { title: input.title, done: input.done ?? false };
      await items.set(id, made, { ifVersion: 0 });
      return Response.json({ id, ...made }, { status: 201, headers: { location: `/items/${id}` } });
    }
    default:
      throw new Problem(405, "use GET or POST");
  }
}

async function item(request: Request, id: string) {
  const found = await items.entry(id);
  if (!found) throw new Problem(404, `there is no item ${id}`);
  switch (request.method) {
    case "GET":
      return { id, ...found.value };
    case "PATCH": {
      const changed = { ...found.value, ...(await body(request)) };
      try {
        await items.set(id, changed, { ifVersion: found.version });
      } catch (e) {
        if ((e as { code?: string }).code === "conflict") throw new Problem(409, "the item was changed meanwhile; read it again");
        throw e;
      }
      return { id, ...changed };
    }
    case "DELETE":
      await items.delete(id);
      return; // 204
    default:
      throw new Problem(405, "use GET, PATCH or DELETE");
  }
}

async function body(request: Request): Promise<Partial<Item>> {
  const input = await request.json().catch(() => {
    throw new Problem(400, "the body is not JSON");
  });
  if (typeof input !== "object" || input === null || Array.isArray(input)) throw new Problem(422, "the body must be an object");
  const { title, done, ...unknown } = input;
  if (title !== undefined && (typeof title !== "string" || title === "")) throw new Problem(422, "title must be a text");
  if (done !== undefined && typeof done !== "boolean") throw new Problem(422, "done must be true or false");
  const [extra] = Object.keys(unknown);
  if (extra !== undefined) throw new Problem(422, `${extra} is no field of an item`);
  return Object.fromEntries(Object.entries({ title, done }).filter(([, v]) => v !== undefined));
}
