// Curves against the step: a line a run and measure, or the median and quartiles of the runs of one colour.
const MOST_POINTS = 30000  // of all lines together: a brush draws them all anew
const MANY = 60  // runs: thin lines are drawn faster, and told apart better
const MOST_GROUPS = 12

// at most so many places among the points, at even distances, the last always among them
const thinned = (n, most) => {
  const every = Math.max(1, Math.ceil(n / Math.max(most, 2)))
  const places = []
  for (let i = n - 1; i >= 0; i -= every) places.push(i)
  return places.reverse()
}

const quantile = (sorted, share) => {
  const place = (sorted.length - 1) * share
  const low = Math.floor(place)
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low])
}

const draw_curves = () => {
  const n_steps = column(steps, "step").length
  const band = mode.value === "band"
  const ids = choice.value.filter((id) => id in measures.data).slice(0, drawn.length)
  const places = thinned(n_steps, Math.max(40, Math.floor(MOST_POINTS / Math.max(n_runs() * Math.max(ids.length, 1), 1))))
  const xs = places.map(step_of)
  const data = {xs: Array(n_runs()).fill(xs), name: column(runs, "name"), colour: column(runs, "colour")}
  for (let k = 0; k < drawn.length; k++) {
    const values = k < ids.length && !band ? column(measures, ids[k]) : null
    data[`ys${k}`] = Array.from({length: n_runs()}, (_, run) =>
      values === null ? [] : Float64Array.from(places, (place) => values[run * n_steps + place]))
    drawn[k].visible = values !== null
    legend.items[k].visible = values !== null || (band && k < ids.length)
    if (k < ids.length) legend.items[k].label = {value: label_of(ids[k])}
  }
  const width = n_runs() > MANY ? 1 : 1.5
  for (const one of drawn) if (one.glyph.line_width.value !== width) one.glyph.setv({line_width: {value: width}}, {sync: false})
  for (const own of [band_drawn, median_drawn]) own.visible = band
  told(curves_note, "")
  put(lines, data)
  draw_bands(band ? ids : [], xs, places, n_steps)
}

const draw_bands = (ids, xs, places, n_steps) => {
  const chosen = runs.selected.indices.length ? new Set(runs.selected.indices) : null
  const groups = new Map()
  for (const run of shown()) {
    if (chosen !== null && !chosen.has(run)) continue
    const own = colour.value === "none" ? "" : column(runs, colour.value)[run]
    if (!groups.has(own)) groups.set(own, [])
    groups.get(own).push(run)
  }
  const area = {xs: [], ys: [], colour: []}
  const middle = {xs: [], ys: [], colour: [], dash: [], name: []}
  if (ids.length && groups.size > MOST_GROUPS) {
    told(curves_note, `${safe(label_of(colour.value))} has ${groups.size} values: bands are drawn for at most ${MOST_GROUPS}. ` +
      "Colour by another column, or select runs.")
  } else {
    for (const [k, id] of ids.entries()) for (const [own, members] of groups) {
      const values = column(measures, id)
      const at = places.map((place) => members.map((run) => values[run * n_steps + place])
        .filter((x) => Number.isFinite(x)).sort((a, b) => a - b))
      const there = at.map((sorted, i) => [i, sorted]).filter(([, sorted]) => sorted.length)
      const line = (share) => there.map(([, sorted]) => quantile(sorted, share))
      const x = there.map(([i]) => xs[i])
      area.xs.push([...x, ...[...x].reverse()])
      area.ys.push([...line(0.25), ...line(0.75).reverse()])
      middle.xs.push(x)
      middle.ys.push(line(0.5))
      for (const one of [area, middle]) one.colour.push(column(runs, "colour")[members[0]])
      middle.dash.push(drawn[k].glyph.line_dash.value ?? "solid")
      middle.name.push(`median of ${members.length} runs${own === "" ? "" : `, ${label_of(colour.value)} ${short(own)}`}`)
    }
  }
  put(bands, area)
  put(medians, middle)
}

const set_axes = () => {
  const log_x = x_axis.value === "log", log_y = y_axis.value === "log"
  const [linear_x, log_scale_x, linear_y, log_scale_y] = scales
  figure.x_scale = log_x ? log_scale_x : linear_x
  figure.y_scale = log_y ? log_scale_y : linear_y
  linear_axes[0].visible = !log_x
  log_axes[0].visible = log_x
  linear_axes[1].visible = !log_y
  log_axes[1].visible = log_y
  grids[0].ticker = (log_x ? log_axes : linear_axes)[0].ticker
  grids[1].ticker = (log_y ? log_axes : linear_axes)[1].ticker
  lines.change.emit()
}

// a click or a drag in the plot: the nearest saved point
const go_to = (x) => {
  const distance = x_axis.value === "log" ? (a) => Math.abs(Math.log(a / x)) : (a) => Math.abs(a - x)
  const all = column(steps, "step"), at = column(steps, "at")
  let best = 0
  for (let i = 1; i < all.length; i++) if (!(distance(all[i]) >= distance(all[best]))) best = i
  if (all.length) slider.value = at[best]
}
