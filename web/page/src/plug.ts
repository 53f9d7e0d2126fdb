// The plugs that the demo announces. Pure functions.

export interface Plug {
  readonly name: string;
  readonly out: boolean;
}

/** The most plugs that are shown. */
const PLUGS_MAX = 8;

const isPlug = (value: unknown): value is Plug => {
  const { name, out } = (value ?? {}) as Partial<Plug>;
  return typeof name === 'string' && typeof out === 'boolean';
};

/** Returns the plugs of the newest message that has any. Others may write in the channel as well, so that a message can be anything. */
export function plugsOf(messages: readonly object[]): readonly Plug[] {
  for (const message of [...messages].reverse()) {
    const { data } = message as { data?: { plugs?: unknown } | null };
    const plugs = data?.plugs;
    const known = Array.isArray(plugs) ? plugs.filter(isPlug).slice(0, PLUGS_MAX) : [];
    if (known.length > 0) return known;
  }
  return [];
}
