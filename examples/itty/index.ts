// An itty-router app: a small router from npm as it is published.
//
//   cd examples/itty && npm ci
//   pic deploy --name todos index.ts
//   curl http://localhost:8080/todos -d '{"title": "Water the plants"}'
//   curl http://localhost:8080/todos
//   curl -X POST http://localhost:8080/todos/1/done

import { AutoRouter, error, type IRequest } from "itty-router";
import { kv } from "picloud";

interface Todo {
  id: number;
  title: string;
  done: boolean;
}

const todos = kv.collection<Todo>("todos");
const counters = kv.collection<number>("counters");
const key = (id: number) => String(id).padStart(10, "0"); // keys sort as text

const router = AutoRouter({ base: "/todos" });

const withTodo = async (request: IRequest) => {
  const id = Number(request.params.id);
  const todo = Number.isInteger(id) ? await todos.get(key(id)) : undefined;
  if (!todo) return error(404, `there is no todo ${request.params.id}`);
  request.todo = todo;
};

router
  .get("/", async () => (await todos.list({ values: true, limit: 1000 })).values)
  .post("/", async (request: IRequest) => {
    const { title } = await request.json().catch(() => ({}));
    if (typeof title !== "string" || title.trim() === "") return error(422, "title must be a text");
    const todo: Todo = { id: await counters.increment("todos"), title: title.trim(), done: false };
    await todos.set(key(todo.id), todo);
    return Response.json(todo, { status: 201 });
  })
  .get("/:id", withTodo, ({ todo }: IRequest) => todo)
  .post("/:id/done", withTodo, async ({ todo }: IRequest) => {
    await todos.set(key(todo.id), { ...todo, done: true });
    return { ...todo, done: true };
  })
  .delete("/:id", withTodo, async ({ todo }: IRequest) => {
    await todos.delete(key(todo.id));
    return new Response(null, { status: 204 });
  });

export default { fetch: router.fetch };
