// A receiver of webhooks: believes a message only if its signature was made with a
// secret that sender and receiver share. The signature's form is GitHub's: the
// header X-Hub-Signature-256 holds sha256= and the HMAC of the body in hex.
//
//   pic secrets set WEBHOOK_SECRET          (asks for the value)
//   pic deploy examples/webhook.ts
//
//   body='{"action":"opened"}'
//   sign=$(printf %s "$body" | openssl dgst -sha256 -hmac "the value" -r | cut -d ' ' -f 1)
//   curl http://localhost:8080/webhook -d "$body" -H "X-Hub-Signature-256: sha256=$sign"
//   curl http://localhost:8080/webhook
//
// A delivery that comes twice, as they do, is counted once.

import { kv, type Context, type Env } from "picloud";

const deliveries = kv.collection<{ at: string; action: string }>("webhook");

export default {
  async fetch(request: Request, env: Env, _ctx: Context) {
    switch (request.method) {
      case "GET":
        return { deliveries: (await deliveries.list({ limit: 100, values: true })).values };
      case "POST":
        return receive(request, env);
      default:
        return problem(405, "use GET or POST", { allow: "GET, POST" });
    }
  },
};

async function receive(request: Request, env: Env) {
  if (!env.WEBHOOK_SECRET) {
    return problem(503, "no secret is set: pic secrets set WEBHOOK_SECRET");
  }
  // The bytes as they came: another way to write the same JSON has another signature.
  const body = await request.arrayBuffer();
  if (!(await signed(body, request.headers.get("x-hub-signature-256"), env.WEBHOOK_SECRET))) {
    return problem(401, "the signature does not fit the body");
  }
  let action: unknown;
  try {
    action = JSON.parse(new TextDecoder().decode(body)).action;
  } catch {
    return problem(400, "the body is not JSON");
  }
  const id = request.headers.get("x-github-delivery") ?? crypto.randomUUID();
  if (await deliveries.has(id)) {
    return { received: id, again: true };
  }
  await deliveries.set(id, { at: new Date().toISOString(), action: String(action) }, { ttl: 30 * 24 * 60 * 60 });
  return Response.json({ received: id }, { status: 201 });
}

// Leaves the comparison to crypto.subtle.verify, which takes the same time
// wherever two signatures differ. Comparing strings would tell it.
async function signed(body: ArrayBuffer, header: string | null, secret: string) {
  const hex = /^sha256=([0-9a-f]{64})$/i.exec(header ?? "")?.[1];
  if (!hex) {
    return false;
  }
  const signature = Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16));
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret), hmac, false, ["verify"]);
  return crypto.subtle.verify("HMAC", key, signature, body);
}

function problem(status: number, error: string, headers?: Record<string, string>) {
  return Response.json({ error }, { status, headers });
}
