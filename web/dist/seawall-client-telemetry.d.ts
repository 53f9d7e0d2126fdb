export * from './types/telemetry.js';
