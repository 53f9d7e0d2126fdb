/** The page and its choices, kept in the hash, so that a link shows a colleague the same. */

export interface Route { page: string; options: URLSearchParams }

export const PAGES = ['overview', 'slos', 'dependencies', 'clients', 'errors', 'lookup', 'alerts', 'relay', 'flags', 'drain', 'settings'] as const;
export const SPANS = { '10m': [2, 300, '10 min'], '3h': [30, 360, '3 h'], '2d': [480, 360, '2 d'], '31d': [8_100, 330, '31 d'] } as const;
export type Span = keyof typeof SPANS;

export function readRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const page = (PAGES as readonly string[]).includes(path) ? path : 'overview';
  return { page, options: new URLSearchParams(query) };
}

export function link(page: string, options: Record<string, string | undefined> = {}): string {
  const kept = Object.entries(options).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '');
  const query = new URLSearchParams(kept).toString();
  return `#/${page}${query === '' ? '' : `?${query}`}`;
}

export const spanOf = (options: URLSearchParams): Span => {
  const wanted = options.get('span') ?? '10m';
  return Object.hasOwn(SPANS, wanted) ? (wanted as Span) : '10m';
};
