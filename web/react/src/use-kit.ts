import { useContext } from 'react';
import { Context } from './context.js';
import { spareKit, type OwnKit } from './kit.js';

/** Returns the kit around a component. */
export const useKit = (): OwnKit => useContext(Context).kit ?? spareKit();
