export * from './types/timeline.js';
