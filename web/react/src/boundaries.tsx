/** The four boundaries. They carry out the ladder's decisions; what they remember about failures is in the kit. */

import { Component, type ErrorInfo, type ReactNode } from 'react';
import { Context, type Surroundings } from './context.js';
import { AppPage, ChatCard, PlainMessage, PlainThread } from './fallbacks.js';
import { placeOfFocus } from './focus.js';
import { keyOf, spareKit, toError, type Kit, type OwnKit } from './kit.js';
import type { Decision, Level } from './ladder.js';

/** A failure as a fallback shows it. */
export interface Fallback {
  readonly error: Error;
  /** People can quote it; it is the fingerprint of the error's group. */
  readonly reference: string;
  /** Renders the content again. Absent if that was done often enough. */
  readonly retry: (() => void) | undefined;
}

export interface BoundaryProps {
  readonly children?: ReactNode;
  /** Default: that of the provider or boundary above. */
  readonly kit?: Kit;
  /** Tells boundaries of one level apart, also after they were mounted again. */
  readonly name?: string;
  /** The content is rendered again when it changes. */
  readonly resetKey?: unknown;
  /** Replaces the fallback. */
  readonly fallback?: (failure: Fallback) => ReactNode;
}

interface State {
  readonly error?: Error | undefined;
  readonly decision?: Decision | undefined;
  readonly reference?: string;
  readonly resetKey?: unknown;
}

const CALM = { error: undefined, decision: undefined };

export abstract class Boundary<P extends BoundaryProps = BoundaryProps> extends Component<P, State> {
  static override contextType = Context;
  declare context: Surroundings;
  abstract readonly level: Level;
  override state: State = { resetKey: this.props.resetKey };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #inner: Surroundings = {};
  /** About the failure since the content was last rendered. */
  #decision: Decision | undefined;

  static getDerivedStateFromError(thrown: unknown): State {
    return { error: toError(thrown), decision: undefined };
  }

  static getDerivedStateFromProps({ resetKey }: BoundaryProps, state: State): State | null {
    return resetKey === state.resetKey ? null : { ...CALM, resetKey };
  }

  /** Names this boundary among those of its level. */
  protected name(): string {
    return this.props.name ?? String(this.props.resetKey ?? '');
  }

  protected abstract plain(failure: Fallback, kit: OwnKit): ReactNode;

  get #kit(): OwnKit {
    return (this.props.kit as OwnKit | undefined) ?? this.context.kit ?? spareKit();
  }

  get #key(): string {
    return keyOf(this.level, this.name(), this.context.within);
  }

  override componentDidMount(): void {
    // Strict mode unmounts and mounts again, after the error was caught.
    this.#schedule();
  }

  override componentDidUpdate(): void {
    this.#schedule();
  }

  override componentWillUnmount(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  override componentDidCatch(thrown: unknown, { componentStack }: ErrorInfo): void {
    const kit = this.#kit;
    const { level } = this;
    // The state may not hold the error yet, and only an object is counted once on its way up.
    const error = toError(thrown);
    // Several boundaries below may have escalated at once: that is one failure of this one.
    const decision = (this.#decision ??= kit.failed({ level, key: this.#key, within: this.context.within }));
    const reference = kit.report(error, level, { component: componentStack });
    this.setState({ error, decision, reference });
    if (decision.do === 'fall_back' && decision.retryMs === undefined && level !== 'message') kit.announce(kit.words.failed[level], true);
  }

  /** Starts the wait for the automatic retry, or ends it. */
  #schedule(): void {
    const { decision } = this.state;
    const retryMs = decision?.do === 'fall_back' ? decision.retryMs : undefined;
    if (retryMs === undefined) this.componentWillUnmount();
    else this.#timer ??= setTimeout(this.#again, retryMs);
  }

  readonly #again = (): void => {
    this.#timer = undefined;
    this.setState(CALM, placeOfFocus());
  };

  readonly #retry = (): void => {
    this.#kit.retried(this.#key);
    this.setState(CALM, placeOfFocus());
  };

  override render(): ReactNode {
    const { error, decision, reference = '' } = this.state;
    const kit = this.#kit;
    if (error) {
      if (decision?.do === 'escalate') throw error;
      const failure = { error, reference, retry: decision?.canRetry ? this.#retry : undefined };
      return this.props.fallback ? this.props.fallback(failure) : this.plain(failure, kit);
    }
    this.#decision = undefined;
    const inner: Surroundings = { ...this.context, kit, within: this.#key };
    // The same object while nothing in it changed, so that the content is not drawn again for it.
    if ((Object.keys(inner) as (keyof Surroundings)[]).some((name) => inner[name] !== this.#inner[name])) this.#inner = inner;
    return <Context.Provider value={this.#inner}>{this.props.children}</Context.Provider>;
  }
}

export interface MessageBoundaryProps extends BoundaryProps {
  /** The message as plain text, shown if it cannot be rendered. The content is rendered again when it changes. */
  readonly text: string;
}

/** Keeps a message that cannot be rendered from taking others with it: its plain text is shown. */
export class MessageBoundary extends Boundary<MessageBoundaryProps> {
  readonly level = 'message';

  static override getDerivedStateFromProps({ resetKey, text }: MessageBoundaryProps, state: State): State | null {
    return Boundary.getDerivedStateFromProps({ resetKey: resetKey ?? text }, state);
  }

  protected override name(): string {
    return this.props.name ?? this.context.row ?? this.props.text;
  }

  protected override plain(failure: Fallback, kit: OwnKit): ReactNode {
    return <PlainMessage text={this.props.text} words={kit.words} {...failure} />;
  }
}

export interface ThreadBoundaryProps extends BoundaryProps {
  /** The messages, shown as lines of plain text if the content cannot be rendered. */
  readonly plain: readonly unknown[];
  /** Returns the line of a message. Default: its user and text. */
  readonly text?: (item: never) => string;
}

/** Keeps the list of messages readable: as plain text, if it cannot be rendered. Put the composer outside, so that it keeps working. */
export class ThreadBoundary extends Boundary<ThreadBoundaryProps> {
  readonly level = 'thread';

  protected override plain(failure: Fallback, kit: OwnKit): ReactNode {
    const { plain, text } = this.props;
    return <PlainThread items={plain} text={text} words={kit.words} {...failure} />;
  }
}

/** Shows a card in place of a chat that cannot be rendered: the connection, and what waits to be sent. */
export class ChatBoundary extends Boundary {
  readonly level = 'chat';

  protected override plain(failure: Fallback, kit: OwnKit): ReactNode {
    return <ChatCard client={this.context.client} words={kit.words} {...failure} />;
  }
}

/** The last boundary: a page that needs no provider and no network. Put it around everything. */
export class AppBoundary extends Boundary {
  readonly level = 'app';

  protected override plain(failure: Fallback, kit: OwnKit): ReactNode {
    return <AppPage words={kit.words} release={kit.options.release} {...failure} />;
  }
}
