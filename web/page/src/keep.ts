// Keeps the outbox in the browser's storage, once this is loaded.

import type { KeptEntry, OutboxKeeper, OutboxOwner } from 'seawall-client';
import { durable } from 'seawall-client/outbox';

/** Returns the keeper of an outbox, and what is over once the entries that waited for it are stored. */
export function keep(owner: OutboxOwner, waiting: Iterable<KeptEntry>): readonly [OutboxKeeper, Promise<unknown>] {
  let isDurable = false;
  const keeper = durable()({
    ...owner,
    // The outbox is durable once these are stored too. Storage may have failed by then.
    opened(isOpen) {
      isDurable = isOpen;
      if (isOpen) void stored.then(() => owner.opened(isDurable));
      else owner.opened(false);
    },
  });
  const stored = Promise.all([...waiting].map((entry) => keeper.save(entry)));
  return [keeper, stored];
}
