// A chat server on Bun's own WebSockets and topics, written as someone experienced with Bun would: a peer to compare
// Seawall with.
//
// It speaks the same subset as seawall-floor (tools/floor/src/command.rs): `/echo` sends each message back, and `/ws` has
// canned answers to the commands that seawall-load writes, split at the same positions, because JSON parsing is not part of
// the comparison. Nothing is stored. A publication is sent with `server.publish`, which encodes it once and batches per turn.

const HEAD = 1_000_000_000;
const TIME = 1763770000123;
const ECHO = { echo: true };
const CHAT = { echo: false };

const published = new Map<string, number>();

function head(channel: string): number {
  return HEAD + (published.get(channel) ?? 0);
}

function connected(id: string): string {
  return (
    `{"id":${id},"connected":{"connection":"floor-1-1","instance":"floor","user":"anonymous","ping_ms":25000,` +
    `"stable_ms":10000,"limits":{"frame_bytes":65536,"publishes_per_s":0,"publishes_burst":40,"subscriptions":128},` +
    `"status":{"revision":1,"level":"ok","dependencies":[],"lost":[]},"recovered":[]}}`
  );
}

// The text between `from` and the next `mark`, and the end of the mark.
function until(text: string, mark: string, from: number): [string, number] {
  const end = text.indexOf(mark, from);
  if (end < 0) throw new Error(`not as seawall-load writes it: ${text.slice(0, 80)}`);
  return [text.slice(from, end), end + mark.length];
}

function command(ws: Bun.ServerWebSocket<typeof CHAT>, text: string): void {
  const SIGNAL = '{"signal":{"channel":"';
  if (text.startsWith(SIGNAL)) {
    const [channel, at] = until(text, '","data":', SIGNAL.length);
    const data = text.slice(at, -2);
    server.publish(channel, `{"signal":{"channel":"${channel}","user":"anonymous","data":${data}}}`);
    return;
  }
  const [id, kind] = until(text, ',"', '{"id":'.length);
  if (text.startsWith('connect"', kind)) {
    ws.send(connected(id));
  } else if (text.startsWith('subscribe"', kind)) {
    const [channel] = until(text, '"', kind + 'subscribe":{"channel":"'.length);
    ws.subscribe(channel);
    const at = head(channel);
    ws.send(`{"id":${id},"subscribed":{"channel":"${channel}","epoch":"floor","head":${at},"floor":1}}`);
    ws.send(`{"synced":{"channel":"${channel}","offset":${at}}}`);
  } else if (text.startsWith('publish"', kind)) {
    const [channel, atKey] = until(text, '","key":"', kind + 'publish":{"channel":"'.length);
    const [key, atData] = until(text, '","data":', atKey);
    const data = text.slice(atData, -2);
    published.set(channel, (published.get(channel) ?? 0) + 1);
    const offset = head(channel);
    ws.send(
      `{"id":${id},"published":{"channel":"${channel}","key":"${key}","epoch":"floor","offset":${offset},` +
        `"time":${TIME},"duplicate":false}}`,
    );
    server.publish(
      channel,
      `{"publication":{"channel":"${channel}","offset":${offset},"key":"${key}","user":"anonymous","time":${TIME},` +
        `"data":${data}}}`,
    );
  }
}

// Parses `--listen HOST:PORT`, as seawall and seawall-floor do.
function listen(): { hostname: string; port: number } {
  const value = Bun.argv[Bun.argv.indexOf("--listen") + 1] ?? "";
  const found = /^(.+):(\d+)$/.exec(value);
  if (!Bun.argv.includes("--listen") || !found) {
    console.error("bun server.ts --listen HOST:PORT; port 0 takes a free one");
    process.exit(2);
  }
  return { hostname: found[1], port: Number(found[2]) };
}

const server = Bun.serve({
  ...listen(),
  development: false,
  fetch(request, server) {
    const data = request.url.endsWith("/echo") ? ECHO : request.url.endsWith("/ws") ? CHAT : undefined;
    if (data && server.upgrade(request, { data })) return;
    return new Response("only /echo and /ws, and only WebSockets\n", { status: 404 });
  },
  websocket: {
    data: CHAT,
    perMessageDeflate: false,
    message(ws, message) {
      if (ws.data.echo) ws.send(message);
      else command(ws, message as string);
    },
  },
});

console.log(`listening on ws://${server.hostname}:${server.port}/ws`);
