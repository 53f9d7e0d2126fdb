import { useContext, useEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import { connect, type Client, type Options } from 'seawall-client';
import { telemetry } from 'seawall-client/telemetry';
import { Announcer } from './announcer.js';
import { Context, type Surroundings } from './context.js';
import { type Kit, type OwnKit } from './kit.js';

interface Common {
  readonly kit: Kit;
  readonly children?: ReactNode;
}

/** A client that the provider makes and closes. Those options count that are given when it is made: for the first time, and again with another `url`, `user` or token text. */
export interface OwnClientProps extends Common, Omit<Options, 'idle'> {
  readonly url: string;
  readonly client?: never;
  /** The name of this client in the gateway's log; `client` of `connect`. */
  readonly clientName?: string;
}

/** A client that the app made with `connect`, and closes. */
export interface GivenClientProps extends Common {
  readonly client: Client;
}

export type SeawallProviderProps = OwnClientProps | GivenClientProps;

/** A client made by the provider. */
class Own {
  readonly client: Client;
  /** True after the end: a closed client does not open again. */
  over = false;
  #started = false;
  #closing: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly id: string, url: string, options: Options) {
    // It opens nothing yet: a server renders it, and React may throw it away.
    this.client = connect(url, { telemetry, ...options, idle: true });
  }

  /** Connects, and returns the end. Strict mode ends and starts again in one turn, which keeps the client. */
  readonly use = (): (() => void) => {
    clearTimeout(this.#closing);
    if (!this.#started) this.client.reconnect();
    this.#started = true;
    return () => {
      this.#closing = setTimeout(() => {
        this.over = true;
        this.client.close();
      });
    };
  };
}

/** Gives a client and a kit to everything in it, and has a screen reader announce what happens. */
export function SeawallProvider(props: SeawallProviderProps): ReactNode {
  const { kit: given, children } = props;
  const kit = given as OwnKit;
  const client = useClient(props);
  useEffect(() => {
    kit.situation = () => {
      const { value: { phase } } = client.state;
      return { phase, lost: client.status.value.lost.join(' ') };
    };
    const end = kit.reportTo(client);
    return () => {
      end();
      kit.situation = () => ({});
    };
  }, [kit, client]);
  const { within } = useContext(Context);
  const value = useMemo((): Surroundings => ({ kit, client, ...(within !== undefined && { within }) }), [kit, client, within]);
  return <Context.Provider value={value}>{children}<Announcer /></Context.Provider>;
}

function useClient(props: SeawallProviderProps): Client {
  const latest = useRef(props);
  useEffect(() => { latest.current = props; });
  const make = (): Own | undefined => {
    if (props.client) return undefined;
    const { kit: _, children: __, client: ___, clientName, url, token, ...options } = props;
    // An inline callback is another function each time, and the newest is called.
    const ask = () => {
      const { token: newest } = latest.current as OwnClientProps;
      return typeof newest === 'function' ? newest() : newest!;
    };
    return new Own(id, url, { ...options, ...(clientName !== undefined && { client: clientName }), ...(token !== undefined && { token: typeof token === 'function' ? ask : token }) });
  };
  const id = props.client ? '' : JSON.stringify([props.url, props.user, typeof props.token === 'string' ? props.token : typeof props.token]);
  const [own, setOwn] = useState(make);
  let now = own;
  if ((own?.id ?? '') !== id) {
    now = make();
    setOwn(now);
  }
  useEffect(() => {
    // A provider that was hidden (React's `Activity`) and is shown again needs another client.
    if (!now?.over) return now?.use();
    setOwn(make());
    return undefined;
  }, [now]);
  return props.client ?? now!.client;
}
