// seawall-client 0.1.0, MIT OR Apache-2.0
function l(r){let n=(e,t)=>`seawall.flags ${e} ${t}`;return{load(e,t){try{return JSON.parse((r??localStorage).getItem(n(e,t))??"null")??void 0}catch{return}},save(e,t,a){try{(r??localStorage).setItem(n(e,t),JSON.stringify(a??null))}catch{}}}}export{l as keptFlags};
