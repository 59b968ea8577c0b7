// A Hono app with zod: routing, middleware and validation by npm packages as
// they are published. `pic` bundles them from node_modules.
//
//   cd examples/hono && npm ci
//   pic deploy --name notes index.ts
//   curl http://localhost:8080/notes
//   curl http://localhost:8080/notes -H 'content-type: application/json' -d '{"title": "Tea", "tags": ["kitchen"]}'
//   curl http://localhost:8080/notes/ID

import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { validator } from "hono/validator";
import { kv } from "picloud";
import * as z from "zod";

const Note = z.object({
  title: z.string().trim().min(1, "must not be empty").max(120),
  text: z.string().max(10_000).default(""),
  tags: z.array(z.string().regex(/^[\p{L}\p{N}-]+$/u, "may hold letters, digits and -")).max(10).default([]),
});
type Note = z.infer<typeof Note>;

const notes = kv.collection<Note & { at: string }>("notes");

const app = new Hono().basePath("/notes");

// Middleware: says how long the handlers behind it took.
app.use(async (c, next) => {
  const start = performance.now();
  await next();
  c.header("server-timing", `app;dur=${(performance.now() - start).toFixed(1)}`);
});

app.get("/", async (c) => {
  const { tag, cursor } = c.req.query();
  const page = await notes.list({ values: true, limit: 100, cursor });
  const found = page.keys.map((id, i) => ({ id, ...page.values[i] }));
  return c.json({ notes: tag ? found.filter((n) => n.tags.includes(tag)) : found, next: page.cursor });
});

const valid = validator("json", (value) => {
  const parsed = Note.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((i) => ({ field: i.path.join("."), message: i.message }));
  throw new HTTPException(422, { res: Response.json({ error: "the note is not valid", issues }, { status: 422 }) });
});

app.post("/", valid, async (c) => {
  const id = crypto.randomUUID();
  const note = { ...c.req.valid("json"), at: new Date().toISOString() };
  await notes.set(id, note);
  return c.json({ id, ...note }, 201, { location: `/notes/${id}` });
});

app.get("/:id", async (c) => {
  const note = await notes.get(c.req.param("id"));
  return note ? c.json({ id: c.req.param("id"), ...note }) : c.notFound();
});

app.delete("/:id", async (c) => {
  return (await notes.delete(c.req.param("id"))) ? c.body(null, 204) : c.notFound();
});

app.notFound((c) => c.json({ error: `nothing is at ${c.req.path}` }, 404));

export default app;
