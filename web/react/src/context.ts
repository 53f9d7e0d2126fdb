import { createContext } from 'react';
import type { Client } from 'seawall-client';
import type { OwnKit } from './kit.js';

export interface Surroundings {
  readonly kit?: OwnKit;
  readonly client?: Client;
  /** The key of the nearest boundary above. */
  readonly within?: string;
  /** The id of the row around, in a list. */
  readonly row?: string;
}

export const Context = createContext<Surroundings>({});
