// A part of the page that is loaded when it is needed.

import { useEffect, useState, type ReactNode } from 'react';
import { MessageBoundary } from 'seawall-react';
import { load, useFailure, useLater, type Later } from './load.ts';

interface NeededProps {
  /** Draws the part. */
  readonly children: (later: Later) => ReactNode;
}

/** Loads the parts and draws one. What fails is thrown, so that the boundary around says so. */
function Needed({ children }: NeededProps): ReactNode {
  const later = useLater();
  const [isAsked, setAsked] = useState(false);
  useEffect(() => {
    void load();
    setAsked(true);
  }, []);
  const failed = useFailure();
  if (later) return children(later);
  if (isAsked && failed) throw failed;
  return null;
}

/** A part that a person asked for. */
export function Deferred({ name, children }: NeededProps & { readonly name: string }): ReactNode {
  const again = (retry: (() => void) | undefined) => (
    <p className="row bad" role="alert">
      This could not be loaded.
      <button type="button" onClick={retry ?? (() => location.reload())}>{retry ? 'Try again' : 'Reload'}</button>
    </p>
  );
  return <MessageBoundary name={name} text="" resetKey={useLater()} fallback={({ retry }) => again(retry)}><Needed>{children}</Needed></MessageBoundary>;
}
