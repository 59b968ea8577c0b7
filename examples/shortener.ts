// A URL shortener: POST a URL, get a short one; the short one redirects and counts.
//
//   pic deploy examples/shortener.ts
//   curl http://localhost:8080/shortener -d '{"url": "https://example.com/a/long/path"}'
//   curl -i http://localhost:8080/shortener/SLUG
//   curl http://localhost:8080/shortener/SLUG+       (the plus asks for the statistics)

import { kv } from "picloud";

interface Link {
  url: string;
  created: string;
}

const links = kv.collection<Link>("links");
const visits = kv.collection<number>("link-visits");

const alphabet = "23456789abcdefghijkmnpqrstuvwxyz"; // 32 characters that nobody confuses

export default {
  async fetch(request: Request, _env: unknown, ctx: { waitUntil(p: Promise<unknown>): void }) {
    const url = new URL(request.url);
    const slug = url.pathname.split("/").slice(2).join("/");
    if (request.method === "POST" && slug === "") return shorten(request, url);
    if (request.method !== "GET" && request.method !== "HEAD") return fail(405, "use GET or POST");
    if (slug === "") return fail(404, "POST {url} here to get a short one");
    if (slug.endsWith("+")) return statistics(slug.slice(0, -1));

    const link = await links.get(slug);
    if (!link) return fail(404, `there is no link ${slug}`);
    ctx.waitUntil(visits.increment(slug)); // the visitor does not wait for the count
    return Response.redirect(link.url, 302);
  },
};

async function shorten(request: Request, here: URL) {
  const body = await request.json().catch(() => undefined);
  let target: URL;
  try {
    target = new URL(body?.url);
  } catch {
    return fail(422, "url must be a whole URL");
  }
  if (target.protocol !== "http:" && target.protocol !== "https:") {
    return fail(422, "only http and https URLs can be shortened");
  }
  for (let attempt = 0; attempt < 5; attempt++) {
    const slug = randomSlug();
    try {
      // ifVersion 0: only if nobody has this slug yet.
      await links.set(slug, { url: target.href, created: new Date().toISOString() }, { ifVersion: 0 });
      const short = `${here.origin}${here.pathname.replace(/\/$/, "")}/${slug}`;
      return Response.json({ slug, short, url: target.href }, { status: 201, headers: { location: short } });
    } catch (e) {
      if ((e as { code?: string }).code !== "conflict") throw e;
    }
  }
  return fail(503, "no free slug was found; try again");
}

async function statistics(slug: string) {
  const [link, count] = await Promise.all([links.get(slug), visits.get(slug)]);
  return link ? { slug, ...link, visits: count ?? 0 } : fail(404, `there is no link ${slug}`);
}

function randomSlug() {
  return Array.from(crypto.getRandomValues(new Uint8Array(7)), (b) => alphabet[b & 31]).join("");
}

function fail(status: number, error: string) {
  return Response.json({ error }, { status });
}
