// Waits for conditions, never for time.

/** Asks again and again until `condition` holds; says what did not come to pass otherwise. */
export async function until(what, ms, condition, about = () => '') {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}\n${await about()}`);
    await new Promise((next) => setTimeout(next, 20));
  }
}
