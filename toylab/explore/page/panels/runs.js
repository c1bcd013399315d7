// The table: filter, columns, colours. `shown` are the runs that the filter leaves.
const OPERATORS = {
  "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "!=": (a, b) => a !== b, "==": (a, b) => a === b,
  "=": (a, b) => a === b, "<": (a, b) => a < b, ">": (a, b) => a > b,
}

// a text → a test of a run's number; raises an Error with a sentence
const filter_of = (text) => {
  const parts = text.split(/\s+and\s+|,/i).map((part) => part.trim()).filter((part) => part !== "")
  const ids = Array.from(column(columns, "id")), labels = Array.from(column(columns, "label"))
  const numeric = Array.from(column(columns, "numeric"))
  const tests = parts.map((part) => {
    const found = /^([^<>=!]*?)\s*(<=|>=|!=|==|=|<|>)\s*(.*)$/.exec(part)
    if (found === null) {
      const texts = ["name", ...ids.filter((_, i) => !numeric[i])].map((id) => column(runs, id))
      const wanted = part.toLowerCase()
      return (run) => texts.some((own) => `${own[run]}`.toLowerCase().includes(wanted))
    }
    const [, named, operator, said] = found
    const fits = labels.map((label, i) => [label, i]).filter(([label]) => label === named)
    const ends = fits.length ? fits : labels.map((label, i) => [label, i]).filter(([label]) => label.endsWith(`.${named}`))
    if (named === "" || ends.length === 0) throw new Error(`"${named}" is no column: it must be one of ${labels.join(", ")}.`)
    if (ends.length > 1) throw new Error(`"${named}" may be ${ends.map(([label]) => label).join(" or ")}: say which.`)
    const i = ends[0][1]
    const values = column(runs, ids[i])
    if (!numeric[i]) {
      if (!["=", "==", "!="].includes(operator)) throw new Error(`${labels[i]} has texts: it can be compared by = or != alone.`)
      return (run) => OPERATORS[operator](`${values[run]}`, said)
    }
    if (said === "" || Number.isNaN(Number(said))) throw new Error(`"${said}" is no number: ${labels[i]} is compared with one.`)
    return (run) => OPERATORS[operator](values[run], Number(said))
  })
  return (run) => tests.every((test) => test(run))
}

const shown = () => {
  const every = Array.from({length: n_runs()}, (_, run) => run)
  const kept_now = kept.booleans
  return kept_now == null ? every : every.filter((run) => kept_now[run])
}

const apply_filter = () => {
  try {
    const test = filter_of(filter.value_input ?? filter.value)
    const found = Array.from({length: n_runs()}, (_, run) => test(run))
    kept.booleans = found.every((one) => one) ? null : found
    told(filter_note, "")
  } catch (error) {
    told(filter_note, `<span role="alert">${safe(error.message)}</span>`)
  }
  count_runs()
  draw_curves()
}

const count_runs = () => {
  const chosen = runs.selected.indices.length
  const left = shown().length
  const of = left < n_runs() ? `${left} of ${n_runs()} runs` : `${n_runs()} run${n_runs() === 1 ? "" : "s"}`
  told(count, `${of}${chosen ? `, ${chosen} selected` : ""}`)
}

const colour_runs = () => {
  const id = colour.value
  const i = Array.from(column(columns, "id")).indexOf(id)
  const {colours, html} = i < 0 ? {colours: Array(n_runs()).fill(PLAIN), html: ""}
    : coloured(column(runs, id), column(columns, "numeric")[i], column(columns, "label")[i])
  put(runs, {...runs.data, colour: colours})
  table.view.change.emit()  // the table looks at nothing else
  told(runs_legend, html)
  draw_curves()
  draw_threads()
}

const show_columns = () => {
  const wanted = new Set([...more.value, "name", "colour"])
  for (const own of table.columns) own.visible = wanted.has(own.field)
}

// the runs that are selected, the first of them the one looked at
const select_runs = (indices) => {
  const now = runs.selected.indices
  if (now.length !== indices.length || now.some((run, i) => run !== indices[i])) runs.selected.indices = indices
}

const follow_selection = () => {
  const indices = runs.selected.indices
  for (const own of [lines, threads]) mark(own, [...indices])
  if (indices.length && run_select.value !== `${indices[0]}`) run_select.value = `${indices[0]}`
  of_run.indices = phases_of_run()
  mark_cells()
  count_runs()
  if (mode.value === "band") draw_curves()
}

const follow_run = () => {
  const run = Number(run_select.value)
  if (runs.selected.indices[0] !== run && (runs.selected.indices.length || run !== 0)) {
    const others = runs.selected.indices
    select_runs(others.includes(run) ? [run, ...others.filter((other) => other !== run)] : [run])
  }
  of_run.indices = phases_of_run()
}

const phases_of_run = () => {
  const own = []
  column(phases, "run").forEach((run, i) => { if (run === Number(run_select.value)) own.push(i) })
  return own
}
