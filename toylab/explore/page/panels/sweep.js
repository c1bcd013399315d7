// The sweep at the step: cells of two columns, and parallel coordinates.
let cell_runs = []
let marking = false
const bounds_of = {}

// the least and greatest of a measure at any run and point: colours mean the same at every step
const bounds = (id) => {
  const values = column(measures, id)
  if (bounds_of[id]?.values !== values) {
    let low = Infinity, high = -Infinity
    for (const x of values) if (Number.isFinite(x)) { if (x < low) low = x; if (x > high) high = x }
    bounds_of[id] = {values, ends: low <= high ? [low, high] : [0, 1]}
  }
  return bounds_of[id].ends
}

// the value at the step, or at the last point before it where the run has none there, as when it has ended
const at_step = (id, run) => {
  const first = run * column(steps, "step").length, there = column(measures, "there")
  let place = place_now()
  while (place > 0 && !there[first + place]) place--
  return there[first + place] ? column(measures, id)[first + place] : NaN
}

const places_of = (id) => {
  if (id === "none") return {values: [""], place: () => 0}
  const all = Array.from(column(runs, id))
  const values = [...new Set(all)]
  // a run that lacks the field has nan, which comes last
  if (typeof values[0] === "number") values.sort((a, b) => (Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : a - b)); else values.sort()
  const by = new Map(values.map((own, i) => [own, i]))
  return {values, place: (run) => by.get(all[run])}
}

const set_axis = (axis, range, values, id) => {
  axis.axis_label = id === "none" ? "" : label_of(id)
  const every = Math.ceil(values.length / 24)
  const ticks = values.map((_, i) => i).filter((i) => i % every === 0)
  axis.ticker.ticks = ticks
  axis.major_label_overrides = new Map(ticks.map((i) => [i, short(values[i])]))
  axis.major_label_orientation = ticks.reduce((sum, i) => sum + `${short(values[i])}`.length + 1, 0) > 56 ? 0.6 : "horizontal"
  if (range.end !== values.length - 0.5) range.setv({start: -0.5, end: values.length - 0.5})
}

// of an even number the lower middle one, so that it is a run's; a run without a value counts as beyond all others
const median = (values) => {
  const sorted = values.map((x) => (Number.isNaN(x) ? Infinity : x)).sort((a, b) => a - b)
  const found = sorted[(sorted.length - 1) >> 1]
  return Number.isFinite(found) ? found : NaN
}

const draw_cells = (with_threads = true) => {
  if (!(value.value in measures.data)) { plane.visible = false; return }
  plane.visible = across.value !== "none" || upwards.value !== "none"
  if (!plane.visible) { told(sweep_legend, ""); return void (with_threads && draw_threads()) }
  const x = places_of(across.value), y = places_of(upwards.value)
  const cells_of = new Map()
  for (let run = 0; run < n_runs(); run++) {
    const key = y.place(run) * x.values.length + x.place(run)
    if (!cells_of.has(key)) cells_of.set(key, [])
    cells_of.get(key).push(run)
  }
  const keys = [...cells_of.keys()].sort((a, b) => a - b)
  const found = keys.map((key) => median(cells_of.get(key).map((run) => at_step(value.value, run))))
  const {colours, html} = coloured(found, true, label_of(value.value), bounds(value.value))
  const xs = keys.map((key) => key % x.values.length), ys = keys.map((key) => Math.floor(key / x.values.length))
  const said = (id, values) => (i) => (id === "none" ? "" : `${label_of(id)} ${short(values[i])}`)
  cell_runs = keys.map((key) => cells_of.get(key))
  marking = true
  put(cells, {
    x: xs, y: ys, x_value: xs.map(said(across.value, x.values)), y_value: ys.map(said(upwards.value, y.values)),
    value: found, n: cell_runs.map((own) => own.length), colour: colours, fresh: keys,
  })
  marking = false
  told(sweep_legend, html)
  const place = place_now(), n_steps = column(steps, "step").length, there = column(measures, "there")
  const ended = Array.from({length: n_runs()}, (_, run) => run).some((run) => !there[run * n_steps + place])
  const where = ended ? "or each run's last point before it" : ""
  const title = `Median of ${label_of(value.value)} at step ${whole(step_of(place))} ${where}`.trim()
  if (plane_title.text !== title) plane_title.text = title
  set_axis(plane_axes[0], plane_ranges[0], x.values, across.value)
  set_axis(plane_axes[1], plane_ranges[1], y.values, upwards.value)
  mark_cells()
  if (with_threads) draw_threads()
}

const mark_cells = () => {
  const chosen = new Set(runs.selected.indices)
  const marked = []
  if (chosen.size) cell_runs.forEach((own, i) => { if (own.some((run) => chosen.has(run))) marked.push(i) })
  marking = true
  mark(cells, marked)
  marking = false
}

const choose_cells = () => {
  if (marking) return
  select_runs(cells.selected.indices.flatMap((i) => cell_runs[i] ?? []))
}

const draw_threads = () => {
  const varying = Array.from(column(columns, "id")).filter((_, i) => column(columns, "varies")[i])
  parallel.visible = varying.length > 2 && value.value in measures.data
  if (!parallel.visible) return
  const axes = [...varying.slice(0, 9), value.value]
  const heights = axes.map((id) => {
    const own = id in runs.data ? Array.from(column(runs, id)) : Array.from({length: n_runs()}, (_, run) => at_step(id, run))
    if (typeof own[0] === "string") {
      const {values, place} = places_of(id)
      return {own, at: own.map((_, run) => (values.length > 1 ? place(run) / (values.length - 1) : 0.5)), ends: [values[0], values.at(-1)]}
    }
    const known = own.filter((x) => Number.isFinite(x))
    const [low, high] = id in runs.data ? [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)]
      : bounds(id)
    const scaled = low > 0 && high / low > 100 ? Math.log : (x) => x
    const span = scaled(high) - scaled(low)
    return {own, at: own.map((x) => (span > 0 ? (scaled(x) - scaled(low)) / span : 0.5)), ends: [low, high]}
  })
  const numbers = Array.from({length: n_runs()}, (_, run) => run)
  const places = axes.map((_, i) => i)
  const kept_now = shown()
  put(threads, {
    xs: numbers.map(() => places), ys: numbers.map((run) => heights.map((axis) => axis.at[run])),
    name: column(runs, "name"), colour: column(runs, "colour"),
  })
  put(knots, {
    x: kept_now.flatMap(() => places), y: kept_now.flatMap((run) => heights.map((axis) => axis.at[run])),
    run: kept_now.flatMap((run) => places.map(() => run)), name: kept_now.flatMap((run) => places.map(() => column(runs, "name")[run])),
    value: kept_now.flatMap((run) => heights.map((axis, i) => `${label_of(axes[i])} ${short(axis.own[run])}`)),
  })
  put(ends, {
    x: [...places, ...places], y: [...places.map(() => 0), ...places.map(() => 1)],
    text: [...heights.map((axis) => short(axis.ends[0])), ...heights.map((axis) => short(axis.ends[1]))],
    shift: [...places.map(() => 14), ...places.map(() => -6)], baseline: Array(2 * places.length).fill("alphabetic"),
  })
  parallel_ranges[0].setv({start: -0.5, end: axes.length - 0.5})
  parallel_axes[0].ticker.ticks = places
  parallel_axes[0].major_label_overrides = new Map(axes.map((id, i) => [i, label_of(id).split(".").at(-1)]))
  parallel_grids[0].ticker = parallel_axes[0].ticker
}

const choose_threads = () => {
  const found = [...new Set(knots.selected.indices.map((i) => column(knots, "run")[i]))]
  if (found.length || knots.selected.indices.length === 0) select_runs(found)
}
