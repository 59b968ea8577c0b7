// A streaming answer: lines arrive as they are made, not when the last is done.
//
//   pic deploy examples/stream.ts
//   curl -N 'http://localhost:8080/stream?lines=5&delay=500'

const sleep = (ms: number) => new Promise((wake) => setTimeout(wake, ms));

export default function fetch(request: Request) {
  const query = new URL(request.url).searchParams;
  const lines = clamp(query.get("lines"), 10, 1000);
  const delay = clamp(query.get("delay"), 200, 2000);
  const encoder = new TextEncoder();
  let sent = 0;

  const body = new ReadableStream({
    // Called whenever the reader wants more, so a slow client slows us down.
    async pull(controller) {
      if (sent === lines) return controller.close();
      if (sent > 0) await sleep(delay);
      sent++;
      controller.enqueue(encoder.encode(`line ${sent} of ${lines}\n`));
    },
    cancel() {
      console.log(`the client left after ${sent} of ${lines} lines`);
    },
  });
  return new Response(body, { headers: { "content-type": "text/plain; charset=utf-8" } });
}

function clamp(text: string | null, fallback: number, most: number) {
  const n = Number.parseInt(text ?? "", 10);
  return Number.isNaN(n) ? fallback : Math.min(Math.max(n, 0), most);
}
