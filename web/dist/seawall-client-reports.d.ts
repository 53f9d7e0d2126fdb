export * from './types/reports.js';
