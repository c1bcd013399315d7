// What all panels use. These files are joined into one function, whose arguments are the page's models by name.
const PLAIN = "#4C88B5"
const UNKNOWN = "#8C8C8C"
const {rising, hues, okabe} = palettes

const on = (property, act) => property.change.connect(act)
// new data that only the browser needs: nothing of it goes to the server
const put = (source, data) => source.setv({data}, {sync: false})
const mark = (source, indices) => source.selected.setv({indices}, {sync: false})
const column = (source, name) => source.data[name] ?? []
const n_runs = () => column(runs, "name").length
const step_of = (place) => column(steps, "step")[place]
const whole = (x) => Number(x).toLocaleString("en-US", {maximumFractionDigits: 3})
const short = (x) => (typeof x !== "number" ? `${x}` : Number.isFinite(x) ? `${Number(x.toPrecision(3))}` : "–")
const safe = (text) => `${text}`.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`)

// a DOM element that a Div shows: Bokeh sets the text of a Div as HTML, so what is not ours is escaped
const told = (div, html) => {
  if (div.text !== html) div.text = html
  if (div.visible !== (html !== "")) div.visible = html !== ""
}

// the place, among the points that were sent, of the one that the slider shows: the last that is not after it
const place_now = () => {
  const at = column(steps, "at")
  let low = 0, high = at.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (at[middle] <= slider.value) low = middle; else high = middle - 1
  }
  return Math.max(low, 0)
}

const label_of = (id) => {
  const i = Array.from(column(columns, "id")).indexOf(id)
  if (i >= 0) return column(columns, "label")[i]
  const option = value.options.find(([own]) => own === id)
  return option === undefined ? id : option[1]
}

// values → {colours, html}: a colour each, and what says which colour is what
const coloured = (values, numeric, label, bounds = null) => {
  const distinct = [...new Set(Array.from(values))]
  const known = distinct.filter((x) => !numeric || Number.isFinite(x))
  if (numeric) known.sort((a, b) => a - b); else known.sort()
  const key = (colour, text) => `<span class="key"><i style="background:${colour}"></i>${safe(text)}</span>`
  const name = `<b>${safe(label)}</b> `
  if (bounds === null && known.length <= (numeric ? 8 : 24)) {
    const pick = (i) => numeric ? rising[Math.round(255 * (known.length > 1 ? i / (known.length - 1) : 0.2))]
      : known.length <= okabe.length ? okabe[i] : hues[Math.floor(256 * i / known.length)]
    const by = new Map(known.map((x, i) => [x, pick(i)]))
    const html = name + known.map((x) => key(by.get(x), numeric ? short(x) : x)).join("")
    return {colours: Array.from(values, (x) => by.get(x) ?? UNKNOWN), html}
  }
  if (!numeric) return {colours: Array.from(values, () => PLAIN), html: `${name}has ${known.length} values: too many for colours.`}
  const [low, high] = bounds ?? [known[0], known[known.length - 1]]
  const log = low > 0 && high / low > 100
  const scaled = log ? Math.log : (x) => x
  const span = scaled(high) - scaled(low)
  const colours = Array.from(values, (x) => {
    if (!Number.isFinite(x)) return UNKNOWN
    const share = span > 0 ? (scaled(Math.max(x, low)) - scaled(low)) / span : 0.5
    return rising[Math.min(255, Math.max(0, Math.round(255 * share)))]
  })
  const stops = [0, 64, 128, 192, 255].map((i) => rising[i]).join(",")
  const bar = `<i class="bar" style="background:linear-gradient(to right,${stops})"></i>`
  return {colours, html: `${name}${short(low)} ${bar} ${short(high)}${log ? " (logarithmic)" : ""}`}
}
