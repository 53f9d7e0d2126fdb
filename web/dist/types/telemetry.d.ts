/**
 * The module `seawall-client/telemetry`: the report on the last connection that `connect` carries, about its end and the time since.
 * Separate, so that only its users load it.
 */
import type { Telemetry } from './runtime.js';
/**
 * Reports to the gateway how the last connection ended, how long the client was away and how many attempts it made: numbers and words of
 * the protocol, nothing about the person, the page or the device. Pass it as `telemetry` to `connect`.
 */
export declare const telemetry: Telemetry;
