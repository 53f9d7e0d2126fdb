// In place of a part of the library that this page does not use.

export const iterate = (): never => { throw new Error('not in this page'); };
