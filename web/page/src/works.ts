// The list of what works in an outage. Pure functions.

const CAPABILITIES: Readonly<Record<string, string>> = {
  publish: 'Sending messages', history: 'Earlier messages', instant_delivery: 'Instant delivery', sign_in: 'Signing in', replies: 'Assistant replies',
};
/** Capabilities that work unless they are lost. */
const ALWAYS = ['publish', 'history'];

/** Turns the list of lost capabilities round: what works, and what does not. Empty if nothing is lost. */
export function works(lost: readonly string[]): readonly { readonly name: string; readonly works: boolean }[] {
  if (lost.length === 0) return [];
  const all = [...ALWAYS.filter((one) => !lost.includes(one)).map((one) => [one, true] as const), ...lost.map((one) => [one, false] as const)];
  return all.map(([one, isThere]) => ({ name: CAPABILITIES[one] ?? one.charAt(0).toUpperCase() + one.slice(1).replaceAll('_', ' '), works: isThere }));
}
