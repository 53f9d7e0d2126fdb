/** Server-sent events, as the streams of models and agents use them. */

/** Yields the JSON object of each event. What else the body has, such as `data: [DONE]`, is skipped. */
export async function* events<T>(response: Response): AsyncGenerator<T> {
  if (!response.ok) throw new Error(`the status of the response is ${response.status}`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (let next; !(next = await reader.read()).done;) {
    const lines = (rest + next.value).split(/\r?\n/);
    rest = lines.pop()!;
    for (const line of lines) if (line.startsWith('data: {')) yield JSON.parse(line.slice(6)) as T;
  }
}
