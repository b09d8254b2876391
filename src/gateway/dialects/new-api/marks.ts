/** The mark that makes an account ours: in its remark, which only the gateway's admins can write. */
interface Marked {
  readonly tenantID: string;
  readonly uuid: string;
}

const ANY_MARK = /^[a-z0-9-]{1,63}\/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function markOf({ tenantID, uuid }: Marked): string {
  return `${tenantID}/${uuid}`;
}

/** An admin's own words may stand beside the mark; another mark may not. */
export function bears(remark: string, marked: Marked): boolean {
  const marks = marksIn(remark);
  return marks.length === 1 && marks[0] === markOf(marked);
}

/** The remark with the mark, and what an admin wrote there. */
export function withMark(remark: string, marked: Marked): string {
  return bears(remark, marked) ? remark : `${remark} ${markOf(marked)}`.trim();
}

export function isUnmarked(remark: string): boolean {
  return marksIn(remark).length === 0;
}

function marksIn(remark: string): string[] {
  return remark.split(/\s+/).filter((word) => ANY_MARK.test(word));
}
