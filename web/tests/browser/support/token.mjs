// Creates tokens as an app's backend does (HS256, see docs/auth.md).

import { createHmac } from 'node:crypto';

export const SECRET = '0123456789abcdef0123456789abcdef';

const b64 = (text) => Buffer.from(text).toString('base64url');

/** Returns a token for a user with these rights on every channel, valid for `seconds`. */
export function token(user, rights = ['subscribe', 'publish'], seconds = 3600) {
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + seconds, channels: [{ pattern: '*', rights }] };
  const signed = `${b64('{"alg":"HS256"}')}.${b64(JSON.stringify(claims))}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}
