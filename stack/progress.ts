import { Listr } from "listr2";

export interface Reporter {
  /** What is being done right now. */
  readonly detail: (text: string) => void;
  /** Its turn has come: time counts from here. */
  readonly begin: () => void;
}

export interface Task {
  readonly title: string;
  /** Resolves with what there is to say about it. */
  readonly run: (reporter: Reporter) => Promise<string>;
}

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? "";
}

/**
 * Runs all tasks at once and waits for every one of them, then throws the first
 * failure. People at a terminal see them live; logs get one line a task. `overall` says how far
 * all of them are: at the beginning and with each line, and beside what runs right now.
 */
export async function runTasks(
  tasks: readonly Task[],
  log?: (line: string) => void,
  overall?: () => string,
): Promise<void> {
  if (log === undefined && process.stdout.isTTY) return runLive(tasks, overall);
  const say = log ?? ((line: string): void => console.log(line));
  if (overall !== undefined) say(overall());
  const far = (): string => (overall === undefined ? "" : `: ${overall()}`);
  const failures: unknown[] = [];
  await Promise.all(
    tasks.map(async (task) => {
      let began = performance.now();
      try {
        const remark = await task.run({ detail: () => {}, begin: () => void (began = performance.now()) });
        say(`${task.title}: ${remark} (${seconds(began)})${far()}`);
      } catch (error) {
        // At once, not only when the slowest of the others is through.
        say(`${task.title}: failed (${seconds(began)}): ${firstLine(error)}`);
        failures.push(error);
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
}

async function runLive(tasks: readonly Task[], overall: (() => string) | undefined): Promise<void> {
  const failures: unknown[] = [];
  const list = new Listr(
    tasks.map(({ title, run }) => ({
      title,
      task: async (_, task) => {
        let began = performance.now();
        let detail = "";
        let far = overall;
        const show = (): void =>
          void (task.title = `${title}${detail} (${[seconds(began), ...(far === undefined ? [] : [far()])].join("; ")})`);
        const clock = setInterval(show, 500);
        try {
          const reporter = {
            detail: (text: string) => void (detail = `: ${text}`),
            begin: () => void (began = performance.now()),
          };
          detail = `: ${await run(reporter)}`;
        } catch (error) {
          failures.push(error);
          detail = `: ${firstLine(error)}`;
          // The whole message is for whoever called.
          throw new Error(title, { cause: error });
        } finally {
          clearInterval(clock);
          far = undefined;
          show();
        }
      },
    })),
    { concurrent: true, exitOnError: false, rendererOptions: { showErrorMessage: false } },
  );
  await list.run();
  if (failures.length > 0) throw failures[0];
}
