/** The iteration of a channel's publications. */

import type { Channel, Publication } from './api.js';
import { SeawallError } from './error.js';
import { ITERATION_MAX } from './limits.js';

/** Delivers what a channel publishes from now on, up to a bound that a slow reader may be behind. */
export function iterate(channel: Channel): AsyncIterator<Publication> {
  const { state } = channel;
  const waiting: Publication[] = [];
  let [behind, over] = [false, false];
  let wake = () => {};
  const stop = [
    channel.on('publication', (one) => {
      behind ||= waiting.push(one) > ITERATION_MAX;
      wake();
    }),
    state.subscribe(() => wake()),
  ];
  const end = () => {
    over = true;
    stop.forEach((off) => off());
    wake();
  };
  // Calls of `next` take turns.
  const all = (async function* take() {
    try {
      while (!over) {
        const one = waiting.shift();
        if (one && behind && !waiting.length) {
          throw new SeawallError({ code: 'overrun', message: `This iteration fell ${ITERATION_MAX} publications behind: continue from offset ${one.offset} with history.` });
        }
        if (one) yield one;
        else if (state.value.phase === 'left') return;
        else await new Promise<void>((resolve) => { wake = resolve; });
      }
    } finally {
      end();
    }
  })();
  return {
    next: () => all.next(),
    return: () => {
      end();
      return all.return();
    },
  };
}
