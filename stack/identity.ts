import { readFileSync } from "node:fs";

/**
 * A process, beyond doubt. A pid alone is used again by the kernel; a pid with
 * its start time (in ticks since this boot) is not.
 */
export interface Identity {
  readonly pid: number;
  readonly startTime: string;
  readonly boot: string;
}

const bootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

/** The fields of /proc/PID/stat after the command name, which may itself hold spaces and brackets. */
export function parseStat(stat: string): { state: string; startTime: string } {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", startTime: fields[19] ?? "" };
}

export function identify(pid: number): Identity | undefined {
  try {
    const { state, startTime } = parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
    // A zombie has ended; only its parent has not looked yet.
    return state === "Z" || state === "X" ? undefined : { pid, startTime, boot: bootId() };
  } catch {
    return undefined;
  }
}

export function isAlive(wanted: Identity): boolean {
  const found = identify(wanted.pid);
  return found !== undefined && found.startTime === wanted.startTime && found.boot === wanted.boot;
}
