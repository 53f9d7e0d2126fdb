/** Reads the text of /metrics (OpenMetrics), as far as pages need it. */

export interface Sample { labels: Record<string, string>; value: number }

const UNESCAPED: Record<string, string> = { n: '\n' };

/** The samples of this name, without its prefix `seawall_`. */
export function samples(text: string, name: string): Sample[] {
  const start = `seawall_${name}`;
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith(start)) return [];
    const [, inside = '', value] = /^(?:\{(.*)\})? (\S+)/.exec(line.slice(start.length)) ?? [];
    if (value === undefined) return [];
    const pairs = [...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const labels = Object.fromEntries(pairs.map(([, key = '', text = '']) => [key, text.replace(/\\(.)/g, (_, letter: string) => UNESCAPED[letter] ?? letter)]));
    return [{ labels, value: Number(value) }];
  });
}

export interface Bucket { until: number; count: number }

/** The buckets of a histogram, each with its own count. The last one has no bound. */
export function buckets(text: string, name: string): Bucket[] {
  const all = samples(text, `${name}_bucket`).map(({ labels, value }) => ({ until: labels['le'] === '+Inf' ? Infinity : Number(labels['le']), count: value }));
  return all.map((bucket, at) => ({ ...bucket, count: bucket.count - (all[at - 1]?.count ?? 0) }));
}

export const total = (parts: { count?: number; value?: number }[]): number => parts.reduce((sum, part) => sum + (part.count ?? part.value ?? 0), 0);
