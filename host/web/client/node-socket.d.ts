/** A WebSocket over the modules of Node, for versions of Node that have none. Give it as the option `WebSocket`. */
export class NodeSocket {
  constructor(url: string, protocols?: string[]);
  onopen: ((event: object) => void) | null;
  onmessage: ((event: { data: string }) => void) | null;
  onerror: ((event: { message?: string; status?: number; problem?: object | null; retryAfter?: string }) => void) | null;
  onclose: ((event: { code: number; reason: string; wasClean: boolean }) => void) | null;
  onping: ((event: object) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}
