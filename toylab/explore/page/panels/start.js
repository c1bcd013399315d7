// The step, playing, and what follows what.
let timer = null
let resting = null

const draw_step = () => {
  const n = Math.round(slider.end) + 1
  const at = column(steps, "at")
  const place = place_now()
  const step = step_of(place)
  const exact = at[place] === slider.value ? whole(step) : `after ${whole(step)}`
  slider.title = step === undefined ? "no saved points" : `step ${exact} (${Math.round(slider.value) + 1} of ${n})`
  if (step_text.text !== slider.title) step_text.text = slider.title
  now.location = step ?? null
  now.visible = step !== undefined
  draw_cells(false)
  // the lines of all runs are drawn anew when the step has come to rest
  if (resting !== null) clearTimeout(resting)
  resting = setTimeout(draw_threads, 150)
}

const stop = () => {
  if (timer !== null) clearInterval(timer)
  timer = null
  if (play.active) play.active = false
  play.label = "Play"
}

const toggle_play = () => {
  if (!play.active) return stop()
  if (slider.value >= slider.end) slider.value = 0
  play.label = "Pause"
  if (timer !== null) clearInterval(timer)
  timer = setInterval(() => {
    if (slider.value >= slider.end) return stop()
    slider.value = Math.min(slider.end, slider.value + 1)
  }, 1000 / Number(speed.value))
}

const redraw_all = () => {
  show_columns()
  apply_filter()
  colour_runs()
  draw_step()
  follow_selection()
}

on(slider.properties.value, draw_step)
on(slider.properties.end, draw_step)
on(play.properties.active, toggle_play)
on(speed.properties.value, toggle_play)
on(filter.properties.value_input, apply_filter)
on(filter.properties.value, apply_filter)
on(more.properties.value, show_columns)
on(table.properties.columns, show_columns)
on(colour.properties.value, colour_runs)
on(runs.selected.properties.indices, follow_selection)
on(run_select.properties.value, follow_run)
for (const own of [choice.properties.value, mode.properties.value]) on(own, draw_curves)
for (const own of [x_axis.properties.value, y_axis.properties.value]) on(own, set_axes)
for (const own of [across.properties.value, upwards.properties.value, value.properties.value]) on(own, () => draw_cells())
on(cells.selected.properties.indices, choose_cells)
on(knots.selected.properties.indices, choose_threads)
on(version.properties.data, redraw_all)
figure.on_event("tap", (event) => go_to(event.x))
figure.on_event("pan", (event) => go_to(event.x))
set_axes()
redraw_all()
// plots take their titles and limits from a source of one row: as it stands now, whatever stood when they were made
for (const own of cb_obj.document?.all_models ?? cb_obj.all_models ?? []) {
  if (own.type === "ColumnDataSource" && own.tags.includes("head")) own.properties.data.change.emit()
}
