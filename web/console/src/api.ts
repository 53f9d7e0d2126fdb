/** Requests to the gateway. All addresses are relative to the page, so any prefix of a proxy works. */

const KEY = 'seawall-session';
const READ_MS = 5_000;
/** Longer than the gateway's own waits for an order. */
const ORDER_MS = 10_000;

/** A refusal by the gateway, with its word and its sentence. */
export class Refused extends Error {
  constructor(readonly status: number, readonly word: string, message: string) {
    super(message);
  }
}

/** The session key. It stays in this tab, and no request carries it unasked. */
export const session = {
  get: (): string | null => sessionStorage.getItem(KEY),
  set: (key: string): void => sessionStorage.setItem(KEY, key),
  clear: (): void => sessionStorage.removeItem(KEY),
};

/** The fault of a request without an answer. An order may have arrived, so it must not simply be repeated. */
export function unanswered(method: string, error: Error): Error {
  if (error.name !== 'TimeoutError') return error;
  if (method === 'GET') return new Error(`no answer within ${READ_MS / 1_000} s`);
  return new Error(`no answer within ${ORDER_MS / 1_000} s: it may have been done all the same, so look before you repeat it`);
}

async function request(method: string, path: string, headers: Record<string, string>, body?: unknown): Promise<Response> {
  return fetch(new URL(path, document.baseURI), {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
    cache: 'no-store',
    credentials: 'same-origin',
    redirect: 'error',
    signal: AbortSignal.timeout(method === 'GET' ? READ_MS : ORDER_MS),
  });
}

async function send(method: string, path: string, headers: Record<string, string>, body?: unknown): Promise<unknown> {
  let response: Response;
  let text: string;
  try {
    response = await request(method, path, headers, body);
    text = await response.text();
  } catch (error) {
    throw unanswered(method, error as Error);
  }
  let answer: unknown = null;
  try {
    answer = text === '' ? null : JSON.parse(text);
  } catch {
    throw new Refused(response.status, 'not_a_gateway', `${response.status} ${response.statusText}: the answer is not from a gateway`);
  }
  if (!response.ok && response.status !== 503) {
    const { error = 'refused', message = response.statusText } = (answer ?? {}) as { error?: string; message?: string };
    throw new Refused(response.status, error, message);
  }
  if (response.status === 503 && typeof (answer as { error?: unknown } | null)?.error === 'string') {
    const { error, message } = answer as { error: string; message: string };
    throw new Refused(503, error, message);
  }
  return answer;
}

const proof = (): Record<string, string> => {
  const key = session.get();
  return key === null ? {} : { 'Seawall-Session': key };
};

/** Asks, as the session that this tab has. `path` is relative to `/console/`. */
export const call = <T>(method: string, path: string, body?: unknown): Promise<T> => send(method, path, proof(), body) as Promise<T>;

/** Reads a text. */
export async function readText(path: string): Promise<string> {
  const response = await request('GET', path, proof());
  if (!response.ok) throw new Refused(response.status, 'refused', `${response.status} ${response.statusText}`);
  return response.text();
}

/** Exchanges the code of a link, or the admin token, for a session. */
export async function logIn(by: { code: string } | { token: string }): Promise<void> {
  const answer = 'code' in by
    ? await send('POST', 'session', {}, { code: by.code })
    : await send('POST', 'session', { Authorization: `Bearer ${by.token}` });
  session.set((answer as { session: string }).session);
}

/** Ends the session here and at the gateway. */
export async function logOut(): Promise<void> {
  try {
    await call('DELETE', 'session');
  } catch {
    // It ends by itself when it is idle.
  }
  session.clear();
}
