/** Client of the Seawall chat gateway. */
export * from './api.js';
export { connect } from './client.js';
export { SeawallError } from './error.js';
export { newKey } from './key.js';
export { ITERATION_MAX, OUTBOX_AGE_MAX_MS, OUTBOX_ENTRIES_MAX, REQUESTS_MAX, REQUEST_MS } from './limits.js';
