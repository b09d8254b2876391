/** Calls of dialect new-api as they stand on the wire, for tests that pin what the gateway answers. */
export type Headers = Record<string, string>;

export interface Answer {
  readonly status: number;
  readonly headers: globalThis.Headers;
  readonly text: string;
  readonly body: {
    readonly success?: boolean;
    readonly message?: string;
    readonly code?: string;
    readonly data?: Record<string, unknown>;
    readonly error?: unknown;
  };
}

export const PAT = "operator-token";
export const ADMIN_HEADERS: Headers = { authorization: `Bearer ${PAT}`, "new-api-user": "2" };
export const PASSWORD = "12345678";

export function newApiCaller(url: string) {
  async function ask(method: string, path: string, headers = ADMIN_HEADERS, body?: unknown): Promise<Answer> {
    const answer = await fetch(`${url}${path}`, { method, headers, body: JSON.stringify(body) ?? null });
    const text = await answer.text();
    const parsed = (text === "" ? {} : JSON.parse(text)) as Answer["body"];
    return { status: answer.status, headers: answer.headers, text, body: parsed };
  }

  const items = <T>({ body }: Answer): T[] => (body.data as unknown as { items: T[] }).items;

  async function idOf(username: string): Promise<number> {
    const found = items<{ id: number; username: string }>(await ask("GET", `/api/user/search?keyword=${username}`));
    return found.find((item) => item.username === username)?.id ?? 0;
  }

  const enter = (username: string, password = PASSWORD) => ask("POST", "/api/user/login", {}, { username, password });

  /** What a session sends, of either generation. */
  async function logIn(username: string): Promise<Headers> {
    const id = String(await idOf(username));
    const { headers, body } = await enter(username);
    const bearer = body.data?.["access_token"];
    if (typeof bearer === "string") return { authorization: `Bearer ${bearer}`, "new-api-user": id };
    return { cookie: headers.getSetCookie()[0]?.split(";")[0] ?? "", "new-api-user": id };
  }

  async function keyOf(session: Headers): Promise<{ id: number; key: string }> {
    await ask("POST", "/api/token/", session, { name: "one" });
    const listed = items<{ id: number; key: string }>(await ask("GET", "/api/token/?p=1&page_size=100", session))[0];
    const { id = 0, key = "" } = listed ?? {};
    if (!key.includes("*")) return { id, key };
    const revealed = await ask("POST", `/api/token/${id}/key`, session);
    return { id, key: String(revealed.body.data?.["key"]) };
  }

  return {
    ask,
    items,
    idOf,
    enter,
    logIn,
    keyOf,
    create: (username: string, more: object = {}) =>
      ask("POST", "/api/user/", ADMIN_HEADERS, { username, password: PASSWORD, ...more }),
    manage: (order: object) => ask("POST", "/api/user/manage", ADMIN_HEADERS, order),
    models: (key: string) => ask("GET", "/v1/models", { authorization: `Bearer sk-${key}` }),
  };
}
export type NewApiCaller = ReturnType<typeof newApiCaller>;
