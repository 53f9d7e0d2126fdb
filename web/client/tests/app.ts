/** An app's code, compiled against the packed library under strict options, with and without the types of the DOM. It is not run. */

import { connect, newKey, SeawallError, type Channel, type Client, type Publication, type State } from 'seawall-client';
import { durable } from 'seawall-client/outbox';
import { timeline, type Timeline, type TimelineItem } from 'seawall-client/timeline';

/** An interface, which has no index signature. */
interface Message {
  text: string;
  replyTo?: number;
}

const client: Client = connect('wss://chat.example/ws', { token: async () => 'token', user: 'ann', outbox: durable({ name: 'chat-ann', locks: null }) });
const room: Channel<Message> = client.channel<Message>('lobby', { last: 50 });
const shown = new Map<number, Message>();

export function show(publication: Publication<Message>): string {
  if (publication.deletes !== undefined || publication.deletedBy !== undefined) {
    // @ts-expect-error The data may be null here.
    publication.data.text;
    return publication.data?.text ?? 'deleted';
  }
  shown.set(publication.edits ?? publication.offset, publication.data);
  return publication.data.text;
}

room.on('publication', show);
room.on('edit', ({ edits, data }) => [edits?.toFixed(), data?.text]);
room.on('delete', ({ deletes }) => shown.delete(deletes));
room.on('signal', ({ data }) => data.text);
// @ts-expect-error There is no such event.
room.on('bogus', () => {});

export async function write(message: Message): Promise<number> {
  try {
    const { offset } = await room.publish(message, { key: newKey() });
    await room.publish({ ...message, text: 'better' }, { edits: offset });
    await room.publish(null, { deletes: offset });
    // @ts-expect-error Only a delete has no data.
    await room.publish(null);
    return offset;
  } catch (error) {
    if (error instanceof SeawallError && error.retryMs !== undefined) return error.retryMs;
    throw error;
  }
}

// Without a type argument any data is accepted, and received data is claimed with `as`.
const loose = client.channel('lobby');
loose.on('publication', ({ data }) => (data as Message | null)?.text);
export const publish = (message: Message) => loose.publish(message);
export const pending = () => client.outbox.value.map(({ data, state }) => `${(data as Message).text} (${state})`);

const line: Timeline<Message> = timeline(client, room, { window: 100, read: { epoch: 'e', offset: 1 } });
export function draw(item: TimelineItem<Message>): string {
  if (item.kind !== 'message') return item.id;
  // @ts-expect-error The data is null once deleted.
  item.data.text;
  return item.deleted ? 'deleted' : item.data.text;
}
export const lines = (): string[] => line.value.items.map(draw);
export const next = (): Promise<void> => line.older();

export const explain = (state: State): string => ('because' in state ? state.because?.message ?? '' : state.phase);
export const most = (state: State): number => ('session' in state ? state.session.limits.frameBytes + state.session.limits.publishesPerSecond : 0);

export async function read(): Promise<string[]> {
  const texts: string[] = [];
  for await (const publication of room) texts.push(show(publication));
  return texts;
}
