// Waits for conditions instead of fixed times.

/** Polls `condition` until it is true and returns its value. A timeout names the condition and adds `about()`. */
export async function until(what, ms, condition, about = () => '') {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}\n${await about()}`);
    await new Promise((next) => setTimeout(next, 20));
  }
}
