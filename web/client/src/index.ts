/** Client of the Seawall chat gateway. */
export * from './api.js';
